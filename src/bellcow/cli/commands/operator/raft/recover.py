"""`operator raft recover`: on a stopped server, show its state and write peers.json.

The recovery is done by the server when it starts and finds the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow import files
from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.errors import CommandError, opening
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.output import age, go_bool, note, pairs, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bellcow.cluster.recovery.offline_state import OfflineState
    from bellcow.cluster.recovery.peers_json import Listed
    from bellcow.model.raft import RaftServer

_NEXT = (
    "Nothing was changed. Run this on every server that is left and compare epoch and index; then "
    "run it on each of them with -servers=..., the same list on all, and start them."
)


@flags.command(
    "Prepares a server to recover a cluster that has lost most of its voters for good.\n\n"
    "PATH is the data directory of a stopped server. The command shows what the server has: its "
    "role, epoch and index and the time of its last commit. With -servers it also writes the file "
    "peers.json, after asking. Every server in it reads it at its next start: when all of "
    "them answer, the one with the newest copy rebuilds the cluster, and the others join it. "
    "Writes that none of them has are lost. Every step is in operations/outage-recovery.md of the "
    "documentation, which is installed in share/doc/bellcow.",
    takes=one("path"),
)
@flag(
    "servers",
    "list",
    "The servers that are left: addresses, names, IDs, or ID@ADDRESS after a move, with commas.",
)
@flag("etcd", "file", "Path of etcd, if it is not in PATH.", default="")
@switch("yes", "Do not ask.")
def recover(*, servers: str | None, etcd: str, yes: bool, words: tuple[str, ...]) -> None:
    server_dir = server_dir_of(words[0])
    with locked(server_dir):
        own_id = _own_id(server_dir)
        copy = _read(server_dir, etcd)
        known = copy.configuration.servers if copy and copy.configuration else ()
        _show(server_dir, own_id, copy, known)
        if servers is None:
            note(_NEXT)
            return
        listed = _chosen(servers, known, own_id)
        path = server_dir / "raft" / "peers.json"
        _ask(path, listed, known, yes=yes)
        kept = _write(path, listed)
    say(f"Wrote {path}")
    if kept:
        say(f"The one before is {kept}")
    say("Do the same on the other servers in it, then start them all.")


def server_dir_of(given: str) -> Path:
    path = Path(given)
    for each in (path / "server", path):
        if (each / "node-id").is_file():
            return each
    raise CommandError(
        f"No server has kept data in {given}: give the data_dir of the server's configuration"
    )


@contextlib.contextmanager
def locked(server_dir: Path) -> Iterator[None]:
    """Hold the server's lock, so that it cannot start.

    Raises:
        CommandError: the server runs, or its lock cannot be opened.
    """
    from bellcow.agent.data_dir import LOCK

    path = server_dir / LOCK
    try:
        lock = path.open("r+", encoding="ascii")
    except FileNotFoundError:
        yield  # no server has run here yet
        return
    except OSError as error:
        raise CommandError(f"Error opening the data directory: {opening(error, path)}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = lock.read().strip() or "another one"
            raise CommandError(
                f"The server in {server_dir} runs, as process {owner}: stop it first"
            ) from None
        yield


def _own_id(server_dir: Path) -> str:
    path = server_dir / "node-id"
    try:
        return path.read_text("ascii", "replace").strip().lower()
    except OSError as error:
        raise CommandError(f"Error reading the server's id: {opening(error, path)}") from error


def _read(server_dir: Path, etcd: str) -> OfflineState | None:
    from bellcow.cluster.recovery import rebuild
    from bellcow.store.protocol import StoreError

    if (server_dir / rebuild.NEW / rebuild.COMPLETE).exists():
        raise CommandError(
            "This server was stopped while it rebuilt its cluster: start it, and it finishes"
        )
    try:
        return asyncio.run(read_copy(server_dir, etcd))
    except StoreError as error:
        raise CommandError(f"Error reading the server's copy: {error}") from error


async def read_copy(server_dir: Path, etcd: str = "") -> OfflineState | None:
    """The copies of the state that a stopped server has, newest first.

    Raises:
        StoreError: a copy cannot be read.
    """
    from bellcow.clock import SystemClock
    from bellcow.cluster.recovery.offline_state import read_stopped

    return await read_stopped(server_dir, etcd, SystemClock(), _quiet)


def _quiet(event: str, /, **fields: object) -> None:
    """Drops etcd's log; its last lines are in the error if there is one."""


def _show(
    server_dir: Path, own_id: str, copy: OfflineState | None, known: Sequence[RaftServer]
) -> None:
    from bellcow.clock import SystemClock
    from bellcow.gocompat.time import rfc3339

    if copy is None:
        say(pairs([("Server", own_id), ("Role", "none: it has no copy of the state")]))
        return
    head = copy.head
    ago = age(SystemClock().wall_ns() - head.time_ns)
    rows = [
        ("Server", own_id),
        ("Role", copy.role(own_id)),
        ("Cluster", copy.cluster_id),
        ("Epoch", head.epoch),
        ("Index", head.index),
        ("Last commit", f"{rfc3339(head.time_ns)}, {ago}" if head.time_ns else "unknown"),
        ("Copy", server_dir / copy.source),
    ]
    say(pairs(rows))
    say()
    cells = [["Node", "ID", "Address", "Voter"]]
    cells += [[each.name, each.id, each.address, go_bool(each.voter)] for each in known]
    say(table(cells))
    say()


def _chosen(servers: str, known: Sequence[RaftServer], own_id: str) -> list[Listed]:
    """The chosen servers, each once, this one among them.

    Raises:
        CommandError: a word is neither a known server nor an address, or this server is missing.
    """
    from bellcow.cluster.recovery.peers_json import Listed, normal, parse, written
    from bellcow.errors import Error

    prefix = "Error in -servers: "
    listed = []
    for word in filter(None, (part.strip() for part in servers.split(","))):
        found = [each for each in known if word in _names(each)]
        try:
            listed.append(Listed(normal(found[0].address), found[0].id) if found else _new(word))
        except ValueError as error:
            raise CommandError(f"{prefix}{error}; the names are those listed above") from error
    try:
        parse(written(listed), "-servers")
    except Error as error:
        raise CommandError(f"{prefix}{error.message.rpartition('-servers: ')[2]}") from error
    ids = {each.id for each in listed}
    # The ID of a server with a replaced disk is unknown: its address must do.
    knows_itself = own_id in {each.id for each in known}
    if own_id not in ids and (knows_itself or "" not in ids):
        raise CommandError(
            f"{prefix}this server, {own_id}, is not among them; if its address has changed, "
            f"write {own_id}@HOST:PORT, on all servers"
        )
    return listed


def _names(server: RaftServer) -> set[str]:
    return {server.id, server.address, server.name, server.name.partition(".")[0]}


def _new(word: str) -> Listed:
    """A server that is not in the copy, from `address` or `id@address`."""
    from bellcow.cluster.recovery.peers_json import Listed, normal

    server_id, _, address = word.rpartition("@")
    return Listed(normal(address), server_id.strip().lower())


def _ask(path: Path, listed: Sequence[Listed], known: Sequence[RaftServer], *, yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("Nothing was written: without a terminal, -yes is needed")
    names = {each.address: each.name for each in known}
    note(f"This writes {path} with the servers")
    for server in listed:
        note(f"  {server.address}  {names.get(server.address, 'unknown here')}")
    note(
        "At its next start this server waits for all of them, then recovers the cluster with them."
    )
    note("Every server that is not among them must stay down until it is wiped.")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("Nothing was written.")


def _write(path: Path, listed: Sequence[Listed]) -> Path | None:
    """Write the file, owned by the server's user; an existing one is renamed.

    Raises:
        CommandError: the file cannot be written, or its directory is a symbolic link.
    """
    from bellcow.clock import SystemClock
    from bellcow.cluster.datadir import stamp_of
    from bellcow.cluster.recovery.peers_json import written

    owner = path.parent.parent.stat()
    kept = None
    try:
        if path.parent.is_symlink():  # its owner could redirect what root writes
            raise CommandError(f"{path.parent} is a symbolic link: put the directory there itself")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            _give(path.parent, owner)
        with files.replacing(path) as file:
            file.write(written(listed))
            _give(file.fileno(), owner)
            if path.exists():
                kept = path.with_name(f"{path.name}.old-{stamp_of(SystemClock().wall_ns())}")
                path.rename(kept)
    except OSError as error:
        raise CommandError(f"Failed to write file: {opening(error, path)}") from error
    return kept


def _give(path: Path | int, owner: os.stat_result) -> None:
    """Set the owner if root runs this: the server, often another user, must read the file."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
