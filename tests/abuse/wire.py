"""Bytes to a server and answers back, for requests that no ordinary client would send."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tests.harness import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE_S = 10.0
Address = tuple[str, int]


class Talk(NamedTuple):
    """What came back on one connection, and whether the server ended it."""

    data: bytes
    closed: bool
    seconds: float
    heads: tuple[bool, ...] = ()

    @property
    def answers(self) -> list[Answer]:
        return parse(self.data, self.heads)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    @property
    def status(self) -> int | None:
        """The one status, None when there was no answer."""
        statuses = self.statuses
        assert len(statuses) <= 1, self.data[:500]
        return statuses[0] if statuses else None


def request(
    method: str,
    target: str,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    chunked: bool = False,
    host: str | None = "localhost",
    close: bool = True,
) -> bytes:
    """One request as bytes. `body` None sends neither body nor length."""
    pairs = list(headers.items() if hasattr(headers, "items") else headers)
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += ["Connection: close"] if close else []
    lines += [f"{name}: {value}" for name, value in pairs]
    payload = b""
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        piece = body or b""
        payload = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + b"0\r\n\r\n"
    elif body is not None:
        lines.append(f"Content-Length: {len(body)}")
        payload = body
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + payload


_others = itertools.count(1)


def elsewhere() -> str:
    """An address that asked nothing yet: what one does wrong is logged once a second."""
    number = next(_others)
    return f"127.1.{number // 250}.{number % 250 + 1}"


@contextlib.contextmanager
def connected(
    address: Address, *, source: str = "", receive_buffer: int = 0
) -> Iterator[socket.socket]:
    """A connection; closed at the end, whatever happened to it."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    sock.settimeout(PATIENCE_S)
    with sock:
        sock.connect(address)
        yield sock


def talk(
    address: Address,
    raw: bytes,
    *,
    patience_s: float = PATIENCE_S,
    enough: int = 0,
    heads: tuple[bool, ...] = (),
    source: str = "",
) -> Talk:
    """Send bytes while reading what comes, until the server closes or patience ends.

    With `enough` it returns as soon as that many answers are whole. `heads` says which of the
    requests were HEAD, whose answers have no body.
    """
    began = time.monotonic()
    with connected(address, source=source) as sock:
        sock.setblocking(False)
        poll = select.poll()  # not select: a row may hold thousands of connections
        left = memoryview(raw)
        data = bytearray()
        closed = False
        while not closed and time.monotonic() < began + patience_s:
            poll.register(sock, select.POLLIN | (select.POLLOUT if left else 0))
            events = sum(flags for _, flags in poll.poll(50))
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                try:
                    piece = sock.recv(1 << 16)
                except ConnectionError:
                    piece = b""
                closed = not piece
                data += piece
                if enough and len(parse(bytes(data), heads)) >= enough:
                    break
            if events & select.POLLOUT:
                try:
                    left = left[sock.send(left[: 1 << 16]) :]
                except ConnectionError:
                    left = left[:0]
    return Talk(bytes(data), closed, time.monotonic() - began, heads)


def reset(sock: socket.socket) -> None:
    """End a connection the rude way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def parse(data: bytes, heads: tuple[bool, ...] = ()) -> list[Answer]:
    """The whole answers in what was received; a part of one at the end is left out."""
    answers: list[Answer] = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        assert version == "HTTP/1.1", first
        headers = [tuple(line.split(": ", 1)) for line in lines]
        answer = Answer(int(status), headers, b"")  # type: ignore[arg-type]  # pairs by the split
        number = len([a for a in answers if a.status != 100])
        bodiless = answer.status in {100, 204, 304} or heads[number : number + 1] == (True,)
        taken = b"", rest
        if not bodiless:
            whole = _body(answer, rest)
            if whole is None:
                break
            taken = whole
        answer.body, data = taken
        answers.append(answer)
    return answers


def _body(answer: Answer, rest: bytes) -> tuple[bytes, bytes] | None:
    if answer.header("Transfer-Encoding") != "chunked":
        size = int(answer.header("Content-Length") or 0)
        return (rest[:size], rest[size:]) if len(rest) >= size else None
    body = b""
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        size = int(line, 16)
        if len(rest) < size + 2:
            return None
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return body, rest


def in_parallel(count: int, ask: Callable[[], Answer]) -> list[Answer]:
    """The same question by many at once; all their answers."""
    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(ask) for _ in range(count)]]
