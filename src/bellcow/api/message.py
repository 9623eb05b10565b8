"""Requests and responses as values, between a protocol and the pipeline. No socket, no route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, unquote_plus

import msgspec

from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Headers = list[tuple[bytes, bytes]]


class Confirming(msgspec.Struct, frozen=True):
    """A read that waits for a round of `state.confirmed_reads`, until the monotonic time `until`.

    It stays with the request when the wait is over.
    """

    round: int
    until: float


class Blocking(msgspec.Struct, frozen=True):
    """A blocking query that waits for an index above `index`, until the monotonic time `until`."""

    until: float
    index: int


class Request:
    """One request, headers only; the body comes separately, to those that ask for it.

    `headers` hold lower-case names in the order received. `path` is decoded exactly once;
    `raw_path` is as it was sent. `client` is the IP of the peer, "" when there is none.
    `began` is when answering began, seconds of `time.perf_counter`, 0 where it is not measured.
    `peer_names` are the DNS names of the certificate that the peer had to show, if any. `hops`
    counts the servers that have forwarded it. `progress` is what it last waited for at this server,
    None before it waits.
    """

    __slots__ = (
        "_query",
        "began",
        "client",
        "headers",
        "hops",
        "method",
        "path",
        "peer_names",
        "progress",
        "raw_path",
        "raw_query",
        "secure",
    )

    def __init__(
        self,
        method: str,
        path: str,
        raw_path: bytes,
        raw_query: bytes,
        headers: Headers,
        client: str = "",
        *,
        secure: bool = False,
        peer_names: tuple[str, ...] = (),
        hops: int = 0,
    ) -> None:
        self.method = method
        self.path = path
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.began = 0.0
        self.headers = headers
        self.client = client
        self.secure = secure
        self.peer_names = peer_names
        self.hops = hops
        self.progress: Confirming | Blocking | None = None
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header given by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def query(self) -> dict[str, list[str]]:
        """All parameters, names case-sensitive, values in the order given.

        Parsed when first asked for.
        """
        if self._query is None:
            self._query = parse_query(self.raw_query) if self.raw_query else {}
        return self._query

    def has(self, name: str) -> bool:
        """Whether the parameter is present, even empty."""
        return bool(self.raw_query) and name in self.query

    def param(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        if not self.raw_query:
            return default
        values = self.query.get(name)
        return values[0] if values else default

    @property
    def accepts_gzip(self) -> bool:
        value = self.header(b"accept-encoding")
        return value is not None and _lists_gzip(value)


def body_length(request: Request) -> int:
    """The length that the headers announce: bytes, 0 for no body, -1 when it comes in chunks."""
    length = 0
    for name, value in request.headers:
        if name == b"transfer-encoding":
            return -1
        if name == b"content-length":
            length = int(value)
    return length


def too_large(limit: int) -> Error:
    """For a body of more than `limit` bytes."""
    return Error(Code.TOO_LARGE, f"request body is larger than {limit} bytes")


def decoded_path(raw_path: bytes) -> str:
    """A path as routes declare it, decoded once."""
    return unquote(raw_path.decode("latin-1"))


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """Go's reading of a query string: pairs split at `&`; a pair holding `;` is dropped."""
    out: dict[str, list[str]] = {}
    for pair in raw.decode("latin-1").split("&"):
        if not pair or ";" in pair:
            continue
        name, _, value = pair.partition("=")
        out.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return out


def _lists_gzip(value: bytes) -> bool:
    """Whether Accept-Encoding lists gzip with a quality above 0. Nomad: `*` does not count."""
    if value == b"gzip":
        return True
    for part in value.lower().split(b","):
        name, _, parameters = part.partition(b";")
        if name.strip() == b"gzip":
            _, _, quality = parameters.partition(b"q=")
            try:
                return not quality or float(quality) > 0
            except ValueError:
                return False
    return False


class Response:
    """One answer. `headers` leave out what the writer adds: Date, Vary, Content-Length, Connection.

    Either `body` holds all of it, or `stream` yields it and the answer goes out chunked. `close`
    ends the connection after it. The body is as it goes on the wire: encoded, and compressed
    where the headers say so. Once `packed` nothing of it changes, and it may be sent many times:
    `lines` are its headers as they are written, `rendered` all of it with the `date`. `undone` is a
    refusal after which nothing was done, so that another try or another server may do it.
    """

    __slots__ = (
        "body",
        "close",
        "date",
        "headers",
        "lines",
        "packed",
        "rendered",
        "status",
        "stream",
        "undone",
    )

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes = b"",
        *,
        stream: AsyncIterator[bytes] | None = None,
        close: bool = False,
        packed: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        self.close = close
        self.packed = packed
        self.lines: bytes | None = None
        self.date: bytes | None = None
        self.rendered = b""
        self.undone: Error | None = None


class Wait:
    """Not yet: ask again when one of `tables` has changed, or `seconds` from now at the latest.

    A `brief` wait ends soon by itself, so neither a client that leaves nor our stop cuts it short.
    """

    __slots__ = ("brief", "seconds", "tables")

    def __init__(self, tables: tuple[str, ...], seconds: float, *, brief: bool = False) -> None:
        self.tables = tables
        self.seconds = seconds
        self.brief = brief


class Body(Protocol):
    """The body of one request, not read before somebody asks for it."""

    async def read(self, limit: int) -> bytes | None:
        """All of it; None when there is none (no body, or a length of 0).

        Raises:
            Error: TOO_LARGE, it has more than `limit` bytes, which are not read; TIMEOUT, the
                client is too slow.
        """

    def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece with backpressure; Error(TIMEOUT) when no progress is made."""


class App(Protocol):
    """What answers requests. `api.pipeline.Pipeline` is the real one."""

    def answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        """Answer without awaiting, or say to wait, or None: not here, use `answer`.

        With `last` a blocking query is answered as things stand.
        """

    async def answer(self, request: Request, body: Body) -> Response:
        """Answer any request; never raises but CancelledError."""
