"""`operator raft info|logs|state`: what a server keeps on its disk, read without the server.

Nomad's commands of these names show its log. Bellcow stores the state instead of a log: names,
flags and labels are Nomad's, the content is the store's. SQLite can be read beside a running
server, etcd's directory only after a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.cli.commands.operator.objects import by_table, to_text
from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.errors import CommandError, opening
from bellcow.cli.shell.flags import INT, flag, switch
from bellcow.cli.shell.output import note, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.store.protocol import Head, Key

_PATH = one("path")
_WHERE = (
    "PATH is the data directory of a server, the directory server in it, or the file store.db or "
    "follow.db itself. Nothing is changed. A server with a vote in a cluster of several must be "
    "stopped; others may run."
)


@flags.command(
    f"Shows the size and the index of a server's store.\n\n{_WHERE}\n\n"
    "The store holds the state and not a log: length counts objects, and the first index is that "
    "of the last restore.",
    takes=_PATH,
)
def info(*, words: tuple[str, ...]) -> None:
    with _store(words[0]) as (path, head, items):
        count = sum(1 for _ in items)
    rows = {"path": path, "length": count, "first index": head.floor, "last index": head.index}
    say("\n".join(f"{f'{name}:':<13}{value}" for name, value in rows.items()))


@flags.command(
    f"Prints the last commits of a server, one JSON object a line.\n\n{_WHERE}\n\n"
    "The store holds the state and not a log: of all commits it remembers the last.",
    takes=_PATH,
)
@switch("pretty", "Indent the JSON.")
def logs(*, pretty: bool, words: tuple[str, ...]) -> None:
    with _store(words[0]) as (_path, head, _items):
        pass
    if head.commit:
        line = msgspec.json.encode(_shown(head))
        say((msgspec.json.format(line, indent=2) if pretty else line).decode())
    note("This store keeps no log: it holds the state itself, and of its commits only the last.")


@flags.command(
    f"Prints every object that a server keeps on its disk as JSON, by table.\n\n{_WHERE}\n\n"
    "The secrets of tokens and the text of the license are left out unless -secrets is given.",
    takes=_PATH,
)
@flag("last-index", "n", "Index to print; only the present one exists.", kind=INT, default=0)
@switch("secrets", "Print secrets too.")
def state(*, last_index: int, secrets: bool, words: tuple[str, ...]) -> None:
    with _store(words[0]) as (_path, head, items):
        if last_index not in {0, head.index}:
            raise CommandError(
                f"This store keeps no log, so the state of another index cannot be rebuilt: "
                f"-last-index can only be {head.index}, the present one"
            )
        tables = by_table(((*key, value) for key, value in items), secrets=secrets)
    say(to_text({"Head": _shown(head), **tables}))


def _found(given: str) -> Path:
    """The SQLite file to read, or the data directory of a server with etcd.

    Raises:
        CommandError: there is no file of a store, or it cannot be looked for.
    """
    from bellcow.cluster.recovery.offline_state import has_etcd

    path = Path(given)
    try:
        if path.is_file():
            return path
        for server_dir in (path, path / "server"):
            if has_etcd(server_dir):
                return server_dir
            for each in (server_dir / "store.db", server_dir / "follow.db"):
                if each.is_file():
                    return each
    except OSError as error:
        raise CommandError(f"Error opening the store: {opening(error, error.filename)}") from error
    # Nomad: scripts match on this sentence, which names Nomad's file.
    raise CommandError(f"File raft.db not found in path {given}")


@contextlib.contextmanager
def _store(given: str) -> Iterator[tuple[Path, Head, Iterator[tuple[Key, bytes]]]]:
    from bellcow.store import offline
    from bellcow.store.protocol import StoreError

    path = _found(given)
    try:
        if path.is_dir():
            yield _etcd(path)
        else:
            with offline.opened(path) as (head, items):
                yield path, head, items
    except StoreError as error:
        raise CommandError(f"Error reading the store: {error}") from error


def _etcd(server_dir: Path) -> tuple[Path, Head, Iterator[tuple[Key, bytes]]]:
    """The copies of the state in the etcd of a stopped voter."""
    from bellcow.cli.commands.operator.raft.recover import locked, read_copy
    from bellcow.store.protocol import NO_HEAD

    with locked(server_dir):
        copy = asyncio.run(read_copy(server_dir))
    if copy is None:
        return server_dir / "raft", NO_HEAD, iter(())
    return server_dir / copy.source, copy.head, iter(copy.items)


def _shown(head: Head) -> dict[str, Any]:
    from bellcow.gocompat.time import rfc3339

    return {
        "Index": head.index,
        "Term": head.term,
        "Time": rfc3339(head.time_ns) if head.time_ns else "",
        "Leader": head.leader,
        "Commit": head.commit,
        "Previous": head.prev,
        "Changes": head.ops,
        "Floor": head.floor,
        "Generation": head.gen,
        "Epoch": head.epoch,
    }
