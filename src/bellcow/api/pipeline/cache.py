"""Encoded answers that are sent more than once: kept by path until a commit changes their tables,
and shared by the blocking queries that one commit wakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.message import Confirming, Response
from bellcow.api.pipeline import answers

if TYPE_CHECKING:
    from bellcow.api.message import Request
    from bellcow.api.route import Route
    from bellcow.server import Server
    from bellcow.store.protocol import Head

SHARED_BYTES = 16 << 20  # of the bodies shared by the blocking queries that one commit wakes
SHARED_EXTRA = 1_024  # bytes counted for an answer's key and headers


class _Encoded:
    """An answer, the state it was made from, and the last head at which that was still current.

    The state is the version of the route's tables and the epoch of the leadership.
    """

    __slots__ = ("head", "packed", "plain", "state")

    def __init__(self, head: Head, state: tuple[int, int], plain: Response) -> None:
        self.head = head
        self.state = state
        self.plain = plain
        self.packed: Response | None = None

    def compressed(self, request: Request) -> Response:
        """The answer compressed, which is done for the first client that accepts it."""
        if self.packed is None:
            plain = self.plain
            copy = Response(plain.status, list(plain.headers), plain.body)
            self.packed = answers.pack(request, copy)
        return self.packed


class EncodedAnswers:
    """Answers of routes whose body depends on tables alone, by path. Tokens are checked before."""

    def __init__(self) -> None:
        self._by_path: dict[str, _Encoded] = {}

    def find(self, route: Route, server: Server, request: Request) -> Response | None:
        """The kept answer, None when the tables or the leadership have changed since."""
        kept = self._by_path.get(route.path)
        if kept is None:
            return None
        head = server.tables.head
        if kept.head is not head or kept.state[1] != server.leadership.epoch:
            if kept.state != _state(route, server):
                return None
            kept.head = head
        return kept.compressed(request) if request.accepts_gzip else kept.plain

    def keep(self, route: Route, server: Server, request: Request, plain: Response) -> Response:
        """Keep a new answer that is confirmed. Any other has its age in it, which changes."""
        plain.packed = True  # it is sent again as it is
        kept = _Encoded(server.tables.head, _state(route, server), plain)
        if server.leadership.is_leader or isinstance(request.progress, Confirming):
            self._by_path[route.path] = kept
        return kept.compressed(request) if request.accepts_gzip else kept.plain


def _state(route: Route, server: Server) -> tuple[int, int]:
    return server.tables.version(*route.cache), server.leadership.epoch


class SharedAnswers:
    """Answers to blocking queries at one head: all who waited for the same get the same bytes."""

    __slots__ = ("_answers", "_epoch", "_free", "_head")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._epoch = 0
        self._answers: dict[tuple[object, ...], Response] = {}
        self._free = SHARED_BYTES

    def move_to(self, head: Head, epoch: int) -> None:
        """Drop the answers of any other head or epoch of the leadership."""
        if head is not self._head or epoch != self._epoch:
            self._head, self._epoch = head, epoch
            self._answers.clear()
            self._free = SHARED_BYTES

    def get(self, key: tuple[object, ...]) -> Response | None:
        """An answer that may be changed, or one that is packed and never changes."""
        known = self._answers.get(key)
        if known is None or known.packed:
            return known
        return Response(known.status, list(known.headers), known.body)

    def keep(self, key: tuple[object, ...], response: Response) -> None:
        """Keep an answer while there is space for it."""
        size = len(response.body) + SHARED_EXTRA
        if size <= self._free:
            self._free -= size
            self._answers[key] = response
