"""Reads one connection's requests: bytes in, a `Request` or a refusal out.

It needs no transport, clock or app. httptools parses; this module checks what httptools does not,
limits the size of a head, and reads targets and methods as Nomad does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Protocol

import httptools
import msgspec

from bellcow.api.message import Request, decoded_path

if TYPE_CHECKING:
    from bellcow.api.message import Headers

_TOKEN: Final = re.compile(rb"(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?= )")
_SPACES: Final = 2  # in a request line
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY_END: Final = re.compile(rb"[/?#]")  # follows the host and port of a URL
_KNOWN_METHOD: Final = b"PATCH"  # replaces a method that the parser does not know
# Bytes of chunk headers allowed for each byte of body; one-byte chunks need 6.
_OVERHEAD_PER_BYTE: Final = 16

HEAD: Final = "head"
BODY: Final = "body"


class Refusal(msgspec.Struct, frozen=True):
    """The answer to bytes that are no valid request. Nothing can be read after them.

    `fault` is an exception of the receiver, which is our bug and not the client's.
    """

    status: int
    text: str
    fault: BaseException | None = None


_BAD_REQUEST: Final = Refusal(400, "400 Bad Request")
_HEAD_TOO_LARGE: Final = Refusal(431, "431 Request Header Fields Too Large")
_TOO_MANY_SPACES: Final = Refusal(400, "400 Bad Request: more than two spaces in the first line")

Unfinished = Literal["head", "body"]


class Receiver(Protocol):
    """Gets what a `Reader` has read, in order, during `feed`."""

    def on_request(self, request: Request) -> None:
        """A head is complete. `Reader.in_body` is True if a body follows."""

    def on_body(self, data: bytes) -> None:
        """The next bytes of the body."""

    def on_body_end(self) -> None:
        """The body is complete. Not called for a request without a body."""


class _InvalidRequest(Exception):
    """Stops the parser. Its argument is the `Refusal`."""


class Reader:
    """Reads requests and calls `receiver` with them. Close it to end their reference cycle.

    `client` is the peer's IP address, `secure` whether it speaks TLS, and `peer_names` are the DNS
    names in its certificate: all three go into each request. `header_bytes` limits a head, and also
    the chunk headers and trailers of a body.
    """

    __slots__ = (
        "_head_bytes",
        "_header_bytes",
        "_headers",
        "_method",
        "_overhead",
        "_parser",
        "_receiver",
        "_url",
        "client",
        "expects_continue",
        "in_body",
        "in_head",
        "keep_alive",
        "peer_names",
        "secure",
        "version",
    )

    def __init__(self, receiver: Receiver, header_bytes: int, *, secure: bool = False) -> None:
        self._receiver = receiver
        self._header_bytes = header_bytes
        self.client = ""
        self.secure = secure
        self.peer_names: tuple[str, ...] = ()
        # the request being read, or the last one
        self.in_head = False
        self.in_body = False
        self.version = "1.1"
        self.keep_alive = False
        self.expects_continue = False
        self._url = b""
        self._headers: Headers = []
        self._method: str | None = None  # sent by the client, if the parser gets another one
        self._head_bytes = 0
        self._overhead = 0
        self._parser = self._new_parser()

    def close(self) -> None:
        """Drop the parser and the receiver. `feed` must not be called any more."""
        del self._parser
        del self._receiver

    def feed(self, data: bytes) -> Unfinished | Refusal | None:
        """Parse `data`, calling the receiver. Returns what is unfinished after it, or a refusal.

        After a refusal the reader must not be used any more.
        """
        between = not self.in_head and not self.in_body
        if between and b"  " in data and data.count(b" ", 0, data.find(b"\n", 4)) > _SPACES:
            # The parser accepts any number of spaces. This finds only a request at the start of
            # `data`.
            return _TOO_MANY_SPACES
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # Nomad: it never upgrades and takes what follows as the next request.
            return self.feed(data[stop.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            return self._feed_unknown_method(data) if between else _BAD_REQUEST
        except httptools.HttpParserCallbackError as fault:
            return _refusal_of(fault.__context__)
        except httptools.HttpParserError:
            return _BAD_REQUEST
        if self.in_head:
            return self._count_head(len(data))
        if self.in_body:
            return self._count_overhead(len(data))
        return None

    def _feed_unknown_method(self, data: bytes) -> Unfinished | Refusal | None:
        """Feed a request whose method the parser rejects. A refusal unless it is a valid token.

        Nomad: it accepts any token as a method and answers by route. The parser knows a closed
        list, so it gets a known method and the request gets the one that was sent. This works only
        at the start of `data`, since the parser does not report where it stopped.
        """
        token = _TOKEN.match(data)
        if token is None or _is_known(token[1]):
            return _BAD_REQUEST
        self._method = token[1].decode("ascii")
        self._parser = self._new_parser()
        return self.feed(_KNOWN_METHOD + data[token.end() :])

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # The receiver ignores requests after one with `Connection: close`; they are no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _count_head(self, size: int) -> Unfinished | Refusal:
        self._head_bytes += size
        return _HEAD_TOO_LARGE if self._head_bytes > self._header_bytes else HEAD

    def _count_overhead(self, size: int) -> Unfinished | Refusal:
        """Limit chunk extensions and trailers, which the parser drops."""
        self._overhead = max(0, self._overhead + size)
        return _BAD_REQUEST if self._overhead > self._header_bytes else BODY

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self.expects_continue = False
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # a trailer otherwise
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._head_bytes = 0
        parser = self._parser
        self.version = version = parser.get_http_version()
        has_body = self._check_headers(version)
        request = self._make_request()
        self.keep_alive = version == "1.1" and parser.should_keep_alive()
        if has_body:
            self.in_body = True
            self._overhead = 0
        self._receiver.on_request(request)

    def on_body(self, data: bytes) -> None:
        self._overhead -= _OVERHEAD_PER_BYTE * len(data)
        self._receiver.on_body(data)

    def on_message_complete(self) -> None:
        if self.in_body:
            self.in_body = False
            self._receiver.on_body_end()

    # --- checks

    def _check_headers(self, version: str) -> bool:
        """Whether a body follows.

        Raises:
            _InvalidRequest: a request with these headers is not served.
        """
        hosts = 0
        has_body = False
        for name, value in self._headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                has_body = value != b"0"
            elif name == b"transfer-encoding":
                has_body = True
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expects_continue = True
        if version == "1.1":
            if hosts != 1:
                fault = "too many Host headers" if hosts else "missing required Host header"
                _refuse(400, f"400 Bad Request: {fault}")
        elif version == "2.0":
            _refuse(505, "505 HTTP Version Not Supported")
        elif version != "1.0":
            _refuse(400, "400 Bad Request")
        if has_body and self._parser.should_upgrade():
            # The parser would take the body for the next request.
            _refuse(400, "400 Bad Request: an upgrade request must not have a body")
        return has_body

    def _make_request(self) -> Request:
        method, self._method = self._method, None
        url = self._url
        if url[:1] == b"/" or url == b"*":
            raw_path, _, raw_query = url.partition(b"?")
        else:
            raw_path, raw_query = self._split_url(url)
        if b"%" in raw_path:
            if _BAD_ESCAPE.search(raw_path):
                _refuse(400, "400 Bad Request")
            path = decoded_path(raw_path)
        else:
            path = raw_path.decode("latin-1")
        return Request(
            method or self._parser.get_method().decode("ascii"),
            path,
            raw_path,
            raw_query,
            self._headers,
            self.client,
            secure=self.secure,
            peer_names=self.peer_names,
        )

    def _split_url(self, url: bytes) -> tuple[bytes, bytes]:
        """Path and query of an absolute URL, whose host must be that of the Host header.

        For the target of CONNECT, a host and port, the path is `/`.

        Raises:
            _InvalidRequest: the URL is malformed, or has another host.
        """
        scheme, separator, rest = url.partition(b"://")
        if separator and scheme.lower() not in {b"http", b"https"}:
            _refuse(400, "400 Bad Request: the target must be an http or https URL")
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            _refuse(400, "400 Bad Request")
        hosts = [value.lower() for name, value in self._headers if name == b"host"]
        if separator and _AUTHORITY_END.split(rest, 1)[0].lower() not in hosts:
            _refuse(400, "400 Bad Request: the host of the target differs from the Host header")
        return parsed.path or b"/", parsed.query or b""


def _refuse(status: int, text: str) -> NoReturn:
    raise _InvalidRequest(Refusal(status, text))


def _refusal_of(fault: BaseException | None) -> Refusal:
    if isinstance(fault, _InvalidRequest):
        refusal: Refusal = fault.args[0]
        return refusal
    return msgspec.structs.replace(_BAD_REQUEST, fault=fault)


def _is_known(method: bytes) -> bool:
    """Whether the parser knows the method."""
    try:
        httptools.HttpRequestParser(object()).feed_data(method + b" /")
    except httptools.HttpParserInvalidMethodError:
        return False
    return True
