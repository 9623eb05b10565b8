"""`operator raft defrag`: on a running server, return unused space of its store to the disk.

It connects to the etcd of the data directory, and needs the user that the server runs as.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.errors import CommandError
from bellcow.cli.shell.output import pairs, say, size

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.store.etcd_space import Freed


@flags.command(
    "Returns unused space of a server's store to the disk.\n\n"
    "PATH is the data directory of a running server of a cluster; etcd never makes its file "
    "smaller by itself. Meanwhile, about a second a gigabyte, this server takes no part in the "
    "cluster: run the command on one server after the other, on the leader last, after "
    "'operator raft transfer-leadership'. Writes that were refused because of a full quota are "
    "accepted again once no server's store is full.",
    takes=one("path"),
)
def defrag(*, words: tuple[str, ...]) -> None:
    from bellcow.cli.commands.operator.raft.recover import server_dir_of

    directory = server_dir_of(words[0]) / "raft"
    if not directory.is_dir():
        raise CommandError(f"{words[0]} has no vote, or keeps its state in one file: nothing to do")
    freed = asyncio.run(_defragment(directory))
    say(
        pairs(
            [
                ("Before", size(freed.before)),
                ("After", size(freed.after)),
                ("Was full", "yes, it accepts writes again" if freed.was_full else "no"),
            ]
        )
    )


async def _defragment(directory: Path) -> Freed:
    from bellcow.store.etcd_space import defragment
    from bellcow.store.protocol import StoreError

    try:
        return await defragment(directory)
    except (StoreError, OSError) as error:
        raise CommandError(f"Error defragmenting the store in {directory}: {error}") from error
