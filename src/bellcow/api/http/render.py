"""The bytes of an answer. Only this module writes status lines and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bellcow.api.message import Response

if TYPE_CHECKING:
    from bellcow.api.message import Headers

_NO_BODY_STATUS: Final = frozenset({204, 304})
_PLAIN: Final = (b"Content-Type", b"text/plain; charset=utf-8")


def plain(status: int, text: str, *, close: bool = False) -> Response:
    """A one-line text answer to a request that does not reach the app."""
    return Response(status, [_PLAIN], text.encode(), close=close)


def _lines(headers: Headers) -> bytes:
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header value holds a line break")
    return lines


def render(response: Response, date: bytes, *, head: bool, old: bool, close: bool) -> bytes:
    """The bytes of an answer, or only its head if it is a stream.

    `head`: the request was HEAD. `old`: HTTP/1.0, which has no chunks.

    Raises:
        ValueError: a header holds a line break.
    """
    headers = response.headers
    body = response.body
    if response.stream is not None:
        framing = b"" if old else b"Transfer-Encoding: chunked\r\n"
        body = b""
    elif response.status in _NO_BODY_STATUS:
        headers = [pair for pair in headers if pair[0] != b"Content-Type"]
        framing = body = b""
    else:
        framing = b"Content-Length: %d\r\n" % len(body)
        if head:
            body = b""
    lines = response.lines
    if lines is None:
        lines = _lines(headers)
        if response.packed:
            response.lines = lines
    return b"%bDate: %b\r\nVary: Accept-Encoding\r\n%b%b%b\r\n%b" % (
        STATUS_LINE[response.status],
        date,
        lines,
        framing,
        b"Connection: close\r\n" if close else b"",
        body,
    )
