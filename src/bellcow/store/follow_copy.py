"""A non-voter's copy of a voter's state: one file like that of the embedded store.

The file has generation numbers of its own, since a state that is fetched twice has the same number
at the voter. A note beside the head names the cluster. A file that is damaged or of another cluster
is renamed and kept. All calls block.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bellcow.model.hello import Cluster
from bellcow.store.protocol import NO_HEAD, Change, Corrupt, Head, StoreError
from bellcow.store.sqlite_files import Files
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bellcow.clock import Clock
    from bellcow.store.protocol import Key

ADVICE = "It is set aside, and a voter sends the state again."
KEPT = 2  # renamed files
_NOTE = "follows"


class Follows(msgspec.Struct, frozen=True):
    """The cluster of the copy, and the generation numbers in the voter's head."""

    cluster: Cluster
    gen: int
    gens: int


class Aside(msgspec.Struct, frozen=True):
    """A file that is no longer used: its new name, and why."""

    path: Path | None
    reason: str


def open_copy(
    path: Path | None, cluster: Cluster, clock: Clock, damage: str = ""
) -> tuple[Copy, Aside | None]:
    """The copy in `path`; a new one if it is damaged or of another cluster or epoch.

    `damage` is why the present file is already known to be damaged.

    Raises:
        Unavailable: another process has it, or the rights of other users cannot be removed.
        StoreError: no file can be opened in its place.
    """
    reason = damage
    if not reason:
        try:
            copy = Copy(Files(path, clock, ADVICE), cluster)
        except Corrupt as error:
            reason = str(error)
        else:
            stranger = copy.stranger()
            if stranger is None:
                return copy, None
            copy.close()
            reason = f"it is of cluster {stranger.id}, epoch {stranger.epoch}"
    kept = _set_aside(path) if path is not None else None
    return Copy(Files(path, clock, ADVICE), cluster), Aside(kept, reason)


class Copy:
    """The open file. `head` is the voter's head of the last commit stored. Raises StoreError."""

    def __init__(self, files: Files, cluster: Cluster) -> None:
        self.tightened = files.tightened
        self._files = files
        self._cluster = cluster
        self._stored = NO_HEAD  # the same head with the file's own generation
        self.head = NO_HEAD
        try:
            self._follows = self._read()
        except BaseException:
            files.close()
            raise

    def _read(self) -> Follows | None:
        """Read head and note.

        Raises:
            Corrupt: the file does not name its cluster.
        """
        self._stored = self._files.read_head()
        note = self._files.note(_NOTE)
        if note is None:
            if self._stored != NO_HEAD:
                raise Corrupt("it does not name its cluster")
            return None
        try:
            follows = msgspec.msgpack.decode(note, type=Follows)
        except UNDECODABLE as error:
            raise Corrupt(f"it does not name its cluster ({undecodable(error)})") from error
        self.head = msgspec.structs.replace(self._stored, gen=follows.gen, gens=follows.gens)
        return follows

    def stranger(self) -> Cluster | None:
        """The cluster of the copy, if it is another one."""
        if self._follows is None or self._follows.cluster == self._cluster:
            return None
        return self._follows.cluster

    def load(self) -> Iterator[tuple[Key, bytes]]:
        """The objects that belong to `head`."""
        self._files.check_not_replaced()
        _, items = self._files.load()
        return items

    def keep(self, changes: Sequence[Change]) -> None:
        """Write commits that follow `head`, all or none."""
        own = [
            Change(self._own(change.head, self._stored.gen), change.changes) for change in changes
        ]
        self._commit(changes[-1].head, own)

    def begin(self) -> int:
        """The number of a generation without objects."""
        return max(self._files.generations() | {self._stored.gen}) + 1

    def stage(self, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        """Write one chunk of a state that is being fetched."""
        self._files.stage(self._stored, gen, items)

    def switch(self, gen: int, head: Head) -> None:
        """Make the staged state the current one."""
        self._commit(head, [Change(self._own(head, gen), {})])

    def sweep(self) -> bool:
        """Delete some of the objects of other generations; true when none are left."""
        for gen in self._files.generations() - {self._stored.gen}:
            self._files.drop(self._stored, gen)
            return False
        return True

    def settle(self) -> bool:
        """Remember what is on disk; false when another call is needed, about a second later."""
        return self._files.settle()

    def close(self) -> None:
        self._files.close()

    def _own(self, head: Head, gen: int) -> Head:
        return msgspec.structs.replace(head, gen=gen, gens=gen)

    def _commit(self, head: Head, own: Sequence[Change]) -> None:
        follows = Follows(self._cluster, head.gen, head.gens)
        note = msgspec.msgpack.encode(follows)
        try:
            self._files.commit(self._stored, *own, **{_NOTE: note})
        except StoreError:
            self._follows = self._read()  # it may have been done
            raise
        self._stored, self.head, self._follows = own[-1].head, head, follows


def _set_aside(path: Path) -> Path:
    """Rename a file and its log. The last two are kept."""
    for number in range(KEPT, 1, -1):
        _rename(_aside(path, number - 1), _aside(path, number))
    for suffix in ("-shm", ".mark"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _rename(path, _aside(path, 1))
    return _aside(path, 1)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.aside-{number}")


def _rename(old: Path, new: Path) -> None:
    for suffix in ("", "-wal"):
        source, target = (each.with_name(each.name + suffix) for each in (old, new))
        target.unlink(missing_ok=True)
        if source.exists():
            source.rename(target)
