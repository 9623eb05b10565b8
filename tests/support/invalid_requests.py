"""Bytes that are no valid request, with the status that refuses them."""

from __future__ import annotations

HOST = b"Host: x\r\n"
INVALID = {
    "a header block over the limit": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    "many headers over the limit": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X: abcdefghijk\r\n" * 6_000 + b"\r\n",
        431,
    ),
    "a target over the limit": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "length and chunks together": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks and length together": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "a negative length": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "a length that is no number": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
        400,
    ),
    "an unknown transfer encoding": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\nabc",
        400,
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a bad escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bad target": (b"GET http:// HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target of another host": (b"GET http://evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target with a user": (b"GET http://x@evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target of another scheme": (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an absolute target without a host": (b"GET http://x/ HTTP/1.0\r\n\r\n", 400),
    "two spaces before the target": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two spaces behind the target": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\n" + HOST + b" x\r\n\r\n", 400),
    "a NUL in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x00\r\n\r\n", 400),
    "the version before 1.0": (b"GET /\r\n\r\n", 400),
    "the version after 1.1": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a TLS handshake": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200, 400),
    "words": (b"hello there\r\n\r\n", 400),
    "a broken chunk": (
        b"PUT /upload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "endless chunk extensions": (
        b"PUT /upload HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n1;"
        + b"x" * 200_000,
        400,
    ),
    "endless trailers": (
        b"PUT /upload HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: abcdefghijk\r\n" * 20_000,
        400,
    ),
    "an upgrade with a body": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        400,
    ),
}
