"""What a store is: objects, one key `head`, and one shape of transaction.

Every change of the state is one commit that compares `head` and replaces it. So at most
one head follows a given head, and a deposed leader's late write fails the compare. A server whose
commit was not answered learns from the head that follows whether it was done.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

Key: TypeAlias = tuple[str, str]
"""Table and id of one object."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the whole store in one record. `NO_HEAD` stands for a store never written."""

    index: int = 0  # the index clients see; only grows, never names two states
    floor: int = 0  # index at which the present generation became current
    commit: str = ""  # random id of this head
    prev: str = ""  # commit id of the head that this one replaced
    ops: int = 0  # changes in this commit besides head
    gen: int = 0  # the current generation of objects
    gens: int = 0  # the last generation number ever taken
    epoch: int = 0  # counts recoveries
    leader: str = ""  # server id of the claim
    term: int = 0  # term of the claim
    time_ns: int = 0  # wall time of the commit, for people; nothing is decided by it


NO_HEAD = Head()


class Change(msgspec.Struct, frozen=True):
    """One whole commit, as a watcher sees it. `None` for a value means deleted."""

    head: Head
    changes: Mapping[Key, bytes | None]


class Reload(msgspec.Struct, frozen=True):
    """History is gone, or another generation is current: load again."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit may hold; `object_bytes` bounds a single value."""

    max_changes: int = 4_096
    max_bytes: int = 8 << 20
    object_bytes: int = 512 << 10


class Confirmation(enum.Enum):
    """What makes sure that memory is current, before a read that must not be stale."""

    LOCAL = "nothing: on the server that leads it always is"
    MAJORITY = "one question to a majority, which any server with this store may ask"
    NONE = "nothing can: another server must answer"


class StoreError(Exception):
    """Base of the errors of a store.

    The message is for the log: it may have paths of the machine and the words of a library.
    `for_clients` is the text for clients; without one it is the message.
    """

    def __init__(self, message: str, for_clients: str = "") -> None:
        super().__init__(message)
        self.for_clients = for_clients or message


class Fenced(StoreError):
    """The compare failed: the store holds another head. Nothing was done."""


class Unknown(StoreError):
    """It was sent, and its outcome is not known. Nothing below the committer retries it."""


class Unavailable(StoreError):
    """Nothing was done; it may succeed later."""


class NotLeader(StoreError):
    """Only the leader of the consensus can do this; nothing was done."""


class Busy(StoreError):
    """Nothing was done: something else must happen first, and will. Try again soon."""


class TooLarge(StoreError):
    """Over a limit of `Limits`; nothing was done."""


class NoSpace(StoreError):
    """The disk or the quota is full; nothing was done, reads go on."""


class Corrupt(StoreError):
    """The files do not hold what was written. Nothing is overwritten; the file is named."""


class Store(Protocol):
    """Where the state is stored. `test_conformance.py` runs on every implementation."""

    limits: Limits
    confirmation: Confirmation

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        """One consistent revision: head and the objects of `head.gen`.

        Local and possibly stale. The iterator may be consumed in another thread, once, and raises
        the same.

        Raises:
            Unavailable: the store cannot be read now.
            Corrupt: what it holds is not what was written.
        """

    async def confirm(self) -> Head:
        """The newest head, linearizable.

        Raises:
            Unavailable: no majority confirms it now.
        """

    async def confirm_in_term(self) -> tuple[Head, int]:
        """The newest head, and the term of the consensus (not of the claim) that confirmed it.

        Raises:
            Unavailable: no majority confirms it now.
        """

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        """If `known` is the head, replace it by `head` and apply `changes` to its generation.

        All or nothing. `head.prev` must be `known.commit` and `head.ops` the number of changes.

        Raises:
            Fenced: `known` is not the head.
            Unknown: it may have been done or not.
            Unavailable: it was certainly not done.
            TooLarge: one commit cannot hold the changes.
            NoSpace: the disk or a quota is full.
        """

    def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        """Whole commits in order, from the one that follows `after`; `Reload` where it cannot."""

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        """Write one chunk of a generation that no reader sees yet. What `commit` raises, it raises
        too.

        Raises:
            ValueError: the generation is that of `known`.
        """

    async def drop(self, known: Head, gen: int) -> bool:
        """Delete up to 1,000 objects of a generation that is not the current one.

        True when none is left. It raises what `stage` raises.
        """

    async def close(self) -> None:
        """Release files and threads. Nothing may be called afterwards."""
