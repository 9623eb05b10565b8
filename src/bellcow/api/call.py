"""The arguments and the reply of a handler: no HTTP on either side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bellcow.api.pipeline.guards import secret_of
from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bellcow.acl.rights import Rights
    from bellcow.api.message import Body, Request
    from bellcow.server import Server

T = TypeVar("T")

_NONE: Mapping[str, Any] = {}


class Call:
    """One request on its way to a handler, its token already resolved and its right checked.

    `query` holds the parameters that the route declares and the client sent, by name, as read.
    """

    __slots__ = ("content", "query", "request", "rights", "secret", "server", "tail", "warnings")

    def __init__(self, server: Server, request: Request, tail: str) -> None:
        self.server = server
        self.request = request
        self.tail = tail
        self.secret = ""
        self.rights: Rights = None  # type: ignore[assignment]  # set before a handler sees it
        self.content: Body = None  # type: ignore[assignment]  # set on the path that may await
        self.warnings: tuple[str, ...] = ()
        self.query = _NONE

    @property
    def stale(self) -> bool:
        """Nomad: presence counts, whatever the value; `stale=false` alone is not stale."""
        return self.request.has("stale") and self.request.param("stale") != "false"

    @property
    def cas(self) -> int | None:
        """The index of a compare-and-set, None without one. For routes that declare `query.CAS`."""
        return self.query.get("cas")

    def carried_secret(self) -> str:
        """The token that the request carries, also on routes that do not check it."""
        return secret_of(self.request)

    def resolve(self, secret: str) -> Rights:
        """The rights of `secret`. An unknown one counts against the limit of the client's address.

        Raises:
            Error: DENIED, the token is unknown; TOO_MANY, the client has sent too many of them.
        """
        try:
            return self.server.resolver.resolve(secret)
        except Error:
            self.server.bad_tokens.check(self.request.client)
            raise

    def flag(self, name: str) -> bool:
        """A switch that needs a value: `force=true`, `force=1`."""
        return self.request.param(name).lower() in {"true", "1"}


class Reply(Generic[T]):
    """A handler's answer where it is more than a value.

    `index` becomes `X-Nomad-Index`; `read` adds the two other headers of a read. `text`
    is a plain answer in place of a value; `one_line` holds encoded parts that pretty printing
    leaves alone.
    """

    __slots__ = (
        "content_type",
        "encoded",
        "headers",
        "index",
        "one_line",
        "read",
        "status",
        "stream",
        "text",
        "value",
    )

    def __init__(
        self,
        value: T | None = None,
        *,
        index: int | None = None,
        read: bool = False,
        status: int = 200,
        text: str | None = None,
        encoded: bytes | None = None,
        content_type: str | None = None,
        one_line: tuple[bytes, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.value: Any = value
        self.index = index
        self.read = read
        self.status = status
        self.text = text
        self.encoded = encoded
        self.content_type = content_type
        self.one_line = one_line
        self.headers = headers
        self.stream = stream
