"""How answers look on the wire."""

from __future__ import annotations

import pytest

from bellcow.api.http.render import plain, render
from bellcow.api.message import Response

DATE = b"Mon, 02 Jan 2006 15:04:05 GMT"


def test_header_names_keep_their_capitals_and_common_headers_are_added():
    response = Response(200, [(b"X-Nomad-Index", b"5")], b"{}")
    assert render(response, DATE, head=False, old=False, close=False) == (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nVary: Accept-Encoding\r\nX-Nomad-Index: 5\r\n"
        b"Content-Length: 2\r\n\r\n{}" % DATE
    )


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body_has_neither_length_nor_type(status: int):
    response = Response(status, [(b"Content-Type", b"application/json")], b"ignored")
    out = render(response, DATE, head=False, old=False, close=False)
    assert b"Content-" not in out
    assert out.endswith(b"\r\n\r\n")


def test_head_gets_the_length_and_no_body():
    out = render(plain(405, "Invalid method"), DATE, head=True, old=False, close=False)
    assert b"Content-Length: 14\r\n" in out
    assert out.endswith(b"\r\n\r\n")


def test_http_1_0_gets_a_stream_without_chunks():
    async def stream():
        yield b""

    response = Response(200, [], stream=stream())
    assert b"chunked" in render(response, DATE, head=False, old=False, close=False)
    assert b"chunked" not in render(response, DATE, head=False, old=True, close=True)


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb"])
def test_line_break_in_a_header_is_never_written(value: bytes):
    with pytest.raises(ValueError, match="line break"):
        render(Response(200, [(b"X", value)]), DATE, head=False, old=False, close=False)
