"""The files that record a server's part in a cluster: their names, contents and atomic writes.

`cluster.json` holds the cluster and whether this server votes. It overrides the settings: a
non-voter has no directory of etcd and must never start as a cluster of one. `bootstrap.json` holds
promises until the first leader is seen.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from bellcow import files
from bellcow.gocompat.time import rfc3339
from bellcow.model.hello import Cluster

if TYPE_CHECKING:
    from pathlib import Path

RAFT = "raft"  # etcd's directory
LOCAL_STATE = "cluster.json"
PROMISE = "bootstrap.json"
MEMBER = "member.json"  # in etcd's directory
STORE = "store.db"  # the embedded store
FOLLOW = "follow.db"  # a non-voter's copy of the state
ASIDE_KEPT = 2  # old directories of etcd; each may be as large as the state

T = TypeVar("T")


class LocalState(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster this server belongs to, and whether it votes.

    `servers` are the last known addresses of the other servers' RPC ports. `founding` is that of
    `Cluster`; `epoch_seen` is the highest epoch that any server has shown.
    """

    cluster_id: str
    epoch: int
    role: Literal["voter", "non-voter", "follower"]  # "follower": a non-voter, in older files
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
    """This server forms this cluster with these servers, and no other cluster meanwhile."""

    cluster_id: str
    proposer: str
    members: tuple[tuple[str, str], ...]  # server id and peer address
    time_ns: int  # wall time of the promise
    given_up: bool = False  # withdrawn by its proposer; others may still commit it


class Promises(msgspec.Struct, frozen=True):
    """All promises whose cluster may still form. The last one binds this server."""

    open: tuple[Promise, ...]


class MemberMark(msgspec.Struct, frozen=True, kw_only=True):
    """Which member of which cluster a directory of etcd belongs to."""

    cluster_id: str
    epoch: int
    member_id: int


class Unreadable(Exception):
    """A damaged or unreadable file; the text says what the operator can do."""


def engine_of(folder: Path | None, wanted: str, *, several: bool) -> str:
    """Which engine a server runs: "embedded", "etcd", or "convert" from embedded to etcd.

    Files on disk override what the settings suggest. `several` is true if the settings name or
    expect other servers.

    Raises:
        Unreadable: files and settings contradict each other, or a file is damaged.
    """
    state = read(folder / LOCAL_STATE, LocalState) if folder else None
    if state is not None:
        if wanted == "embedded":
            raise Unreadable(
                f"{folder} belongs to cluster {state.cluster_id}, which is on etcd, and "
                "server.engine is embedded; leave the setting out, or choose another data_dir"
            )
        return "etcd"
    if wanted == "embedded" or (wanted == "auto" and not several):
        return "embedded"
    if folder is None:
        raise Unreadable("a cluster of several servers needs a data_dir")
    return "convert" if (folder / STORE).exists() else "etcd"


def read(path: Path, kind: type[T]) -> T | None:
    """The file's content; None without a file.

    Raises:
        Unreadable: the file is damaged, or cannot be read.
    """
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
    """Replace the file atomically: a crash leaves the old or the new content.

    Raises:
        OSError: it cannot be written.
    """
    files.write(path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")


def remove(path: Path) -> None:
    """Remove the file, if there is one, and sync its directory.

    Raises:
        OSError: it cannot be removed.
    """
    path.unlink(missing_ok=True)
    files.sync_directory(path.parent)


def stamp_of(time_ns: int) -> str:
    """A wall time as part of a file name, such as `20270115T080000Z`."""
    return rfc3339(time_ns).replace("-", "").replace(":", "")


def set_aside(directory: Path, stamp: str) -> Path | None:
    """Rename a directory of etcd to `NAME.old-STAMP`; None without one.

    Of all directories that were renamed so, the last two are kept.

    Raises:
        OSError: it cannot be renamed.
    """
    if not directory.exists():
        return None
    aside = directory.with_name(f"{directory.name}.old-{stamp}")
    directory.rename(aside)
    files.sync_directory(directory.parent)
    before = sorted(directory.parent.glob(f"{directory.name}.old-*"))
    for old in before[:-ASIDE_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return aside
