"""What a failed call to etcd means: certainly not done, or not known.

A table of etcd's texts. A wrong "not done" would lose a write, so a write that fails with any other
text is "not known".
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bellcow.etcd.client import CallFailed
from bellcow.store.protocol import (
    Busy,
    Corrupt,
    NoSpace,
    NotLeader,
    StoreError,
    TooLarge,
    Unavailable,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first entry whose words are in etcd's text counts, for reads and writes alike.
_BY_TEXT: tuple[tuple[str, type[StoreError]], ...] = (
    ("rpc not supported for learner", Unavailable),
    ("no leader", Unavailable),
    ("too many learner members", Busy),
    ("in sync with leader", Busy),
    ("not leader", NotLeader),
    ("space exceeded", NoSpace),
    ("too many operations", TooLarge),
    ("request is too large", TooLarge),
    ("message larger than max", TooLarge),
    ("corrupt", Corrupt),
)
# gRPC's texts name sockets and internal states; these say what they mean.
_PLAINLY = (
    ("failed to connect to all addresses", "it does not run"),
    ("Socket closed", "it ended"),
    ("recvmsg:", "it ended"),
    ("Stream removed", "it ended"),
)
# The texts for clients, which need not know etcd or gRPC.
_TOLD: dict[type[StoreError], str] = {
    Busy: "the consensus is busy with another change; try again in a moment",
    Corrupt: "the store is damaged; the server's log says more",
    NoSpace: "the store is full: writes are refused until there is room",
    NotLeader: "another server leads the consensus",
    TooLarge: "it is more than the store accepts at once",
    Unavailable: "the consensus does not answer now",
    Unknown: "the consensus has not answered",
}
# etcd answers with these before it proposes anything.
_REFUSED = {
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNIMPLEMENTED",
}


def refusal(code: str, details: str, *, write: bool) -> StoreError:
    """The error for gRPC's `code` and etcd's `details`; `write` if the call may change data."""
    text = f"etcd: {_plainly(details)} ({code})"
    for words, kind in _BY_TEXT:
        if words in details:
            return kind(text, _TOLD[kind])
    kind = Unknown if write and code not in _REFUSED else Unavailable
    return kind(text, _TOLD[kind])


def _plainly(details: str) -> str:
    for words, ours in _PLAINLY:
        if words in details:
            return ours
    return details or "no reason given"


@contextmanager
def translated(*, write: bool) -> Iterator[None]:
    """Translate the failure of a call; `write` if the call may change data.

    Raises:
        StoreError: the call failed.
    """  # noqa: DOC501  made by `refusal`
    try:
        yield
    except CallFailed as error:
        raise refusal(error.code, error.details, write=write) from error
