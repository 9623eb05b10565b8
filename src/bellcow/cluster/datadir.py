"""What a server has written down of its part in a cluster, and how such a file is written.

`cluster.json` says which cluster and what part; it wins over the settings, for a server without a
vote has no directory of etcd and must never wake up as a cluster of one. Promises are kept in
`bootstrap.json` until the first leader is seen. Nothing here decides anything.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from bellcow import files
from bellcow.model.hello import Cluster
from bellcow.wire import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

RAFT = "raft"  # etcd's directory
LOCAL_STATE = "cluster.json"
PROMISE = "bootstrap.json"
MEMBER = "member.json"  # in etcd's directory
STORE = "store.db"  # the embedded store
FOLLOW = "follow.db"  # the copy of a server without a vote
ASIDE_KEPT = 2

T = TypeVar("T")


class LocalState(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster this server belongs to, and whether it votes.

    `servers` are the last known addresses of the port between servers. `founding` is that of
    `Cluster`; `epoch_seen` is the highest epoch that any server has shown.
    """

    cluster_id: str
    epoch: int
    role: Literal["voter", "non-voter", "follower"]  # "follower" is an older word for non-voter
    servers: tuple[tuple[str, int], ...] = ()
    founding: str = ""
    epoch_seen: int = 0

    def __post_init__(self) -> None:
        if self.role == "follower":
            msgspec.structs.force_setattr(self, "role", "non-voter")

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.cluster_id, self.epoch, self.founding)


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """That this server founds this cluster with these others, and no other one meanwhile."""

    cluster_id: str
    proposer: str
    members: tuple[tuple[str, str], ...]  # server id and peer address
    time_ns: int  # wall time of the promise
    given_up: bool = False  # begun here and set aside; others may still make it come true


class Promises(msgspec.Struct, frozen=True):
    """All that may still come true. The last one is the one to be kept."""

    open: tuple[Promise, ...]


class MemberMark(msgspec.Struct, frozen=True, kw_only=True):
    """Whose files are in a directory of etcd."""

    cluster_id: str
    epoch: int
    member_id: int


class Unreadable(Exception):
    """A file that does not hold what was written, and what to do about it."""


def engine_of(folder: Path | None, wanted: str, *, several: bool) -> str:
    """Which engine a server runs: "embedded", "etcd", or "convert" from the one to the other.

    What is on the disk wins over what the settings suggest. Raises Unreadable where they exclude
    each other. `several` tells whether the settings speak of other servers.
    """
    place = read(folder / LOCAL_STATE, LocalState) if folder else None
    if place is not None:
        if wanted == "embedded":
            raise Unreadable(
                f"{folder} belongs to cluster {place.cluster_id}, which is on etcd, and "
                "server.engine is embedded; leave the setting out, or choose another data_dir"
            )
        return "etcd"
    if wanted == "embedded" or (wanted == "auto" and not several):
        return "embedded"
    if folder is None:
        raise Unreadable("a cluster of several servers needs a data_dir")
    return "convert" if (folder / STORE).exists() else "etcd"


def read(path: Path, kind: type[T]) -> T | None:
    """What the file holds; None where there is none. Raises Unreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"{path} cannot be read ({error}); restore it from a backup, or remove the whole "
            "data directory so that this server joins as a new one"
        ) from None


def write(path: Path, value: msgspec.Struct) -> None:
    """All of it or nothing, whenever the machine stops."""
    files.write(path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    files.sync_directory(path.parent)


def stamp_of(time_ns: int) -> str:
    """A time as part of a name; the same at each start that finishes the switch."""
    return rfc3339(time_ns).replace("-", "").replace(":", "")


def set_aside(directory: Path, stamp: str) -> Path | None:
    """Rename a directory of etcd to `NAME.old-STAMP` and keep the last two; None without one."""
    if not directory.exists():
        return None
    aside = directory.with_name(f"{directory.name}.old-{stamp}")
    directory.rename(aside)
    files.sync_directory(directory.parent)
    before = sorted(directory.parent.glob(f"{directory.name}.old-*"))
    for old in before[:-ASIDE_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return aside
