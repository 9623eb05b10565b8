"""Bytes in, requests and refusals out, without a transport."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.invalid_requests import INVALID
from tests.support.raw_http import get, request

from bellcow.api.http.reader import BODY, HEAD, Reader, Refusal

if TYPE_CHECKING:
    from bellcow.api.message import Request

HEADER_BYTES = 64 * 1024


class Recorder:
    """Records requests and bodies."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.ended = 0
        self.reader = Reader(self, HEADER_BYTES)

    def on_request(self, request: Request) -> None:
        self.requests.append(request)
        self.bodies.append(b"")

    def on_body(self, data: bytes) -> None:
        self.bodies[-1] += data

    def on_body_end(self) -> None:
        self.ended += 1


def read(data: bytes) -> Recorder:
    """Read valid requests."""
    recorder = Recorder()
    assert recorder.reader.feed(data) is None
    return recorder


def refusal_of(data: bytes, size: int = 4096) -> Refusal | None:
    """The first refusal when `data` is fed in pieces of `size`."""
    reader = Recorder().reader
    for start in range(0, len(data), size):
        left = reader.feed(data[start : start + size])
        if isinstance(left, Refusal):
            return left
    return None


def test_request_is_read_with_its_headers_in_lower_case():
    recorder = read(get("/v1/jobs?a=b", "X-Nomad-Token: Secret"))
    [got] = recorder.requests
    assert (got.method, got.path, got.raw_path, got.raw_query) == (
        "GET",
        "/v1/jobs",
        b"/v1/jobs",
        b"a=b",
    )
    assert got.headers == [(b"host", b"test"), (b"x-nomad-token", b"Secret")]
    assert (recorder.reader.version, recorder.reader.keep_alive) == ("1.1", True)
    assert recorder.ended == 0


def test_request_has_the_address_and_certificate_names_of_its_client():
    recorder = Recorder()
    reader = recorder.reader = Reader(recorder, HEADER_BYTES, secure=True)
    reader.client, reader.peer_names = "192.0.2.7", ("server.global.nomad",)
    assert reader.feed(get("/")) is None
    [got] = recorder.requests
    assert (got.client, got.secure, got.peer_names) == ("192.0.2.7", True, ("server.global.nomad",))


@pytest.mark.parametrize(
    ("target", "path", "raw_query"),
    [
        ("/v1/a%2fb?x=%20", "/v1/a/b", b"x=%20"),
        ("/v1/%00", "/v1/\x00", b""),
        ("/v1/%C3%A4", "/v1/ä", b""),
        ("/v1/%252e", "/v1/%2e", b""),
        ("http://Test/v1/a?b", "/v1/a", b"b"),
        ("http://test", "/", b""),
        ("//x/../y", "//x/../y", b""),
        ("*", "*", b""),
    ],
)
def test_target_is_decoded_once(target: str, path: str, raw_query: bytes):
    [got] = read(get(target)).requests
    assert (got.path, got.raw_query) == (path, raw_query)


@pytest.mark.parametrize("method", ["FOO", "get", "M-X", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
def test_any_token_is_a_method(method: str):
    recorder = read(request(method, "/v1/x") + get("/next"))
    assert [got.method for got in recorder.requests] == [method, "GET"]


def test_unknown_method_may_have_a_body():
    recorder = read(request("FOO", "/v1/x", body=b"abc") + get("/next"))
    assert [got.method for got in recorder.requests] == ["FOO", "GET"]
    assert recorder.bodies == [b"abc", b""]


def test_unknown_method_behind_another_request_is_refused():
    left = Recorder().reader.feed(get("/") + request("FOO", "/"))
    assert isinstance(left, Refusal)
    assert left.status == 400


@pytest.mark.parametrize(
    ("line", "version", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "1.1", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", "1.1", False),
        (b"GET / HTTP/1.0\r\n", "1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", "1.0", False),
    ],
)
def test_only_http_1_1_keeps_the_connection_open(line: bytes, version: str, keeps: bool):
    reader = read(line + b"\r\n").reader
    assert (reader.version, reader.keep_alive) == (version, keeps)


def test_expectation_of_continue_is_of_its_own_request_only():
    recorder = Recorder()
    put = request("PUT", "/a", "Expect: 100-Continue", "Content-Length: 2")
    assert recorder.reader.feed(put) == BODY
    assert recorder.reader.expects_continue
    assert recorder.reader.feed(b"ab" + get("/")) is None
    assert not recorder.reader.expects_continue


def test_offer_to_upgrade_is_ignored():
    offer = get("/json", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
    assert len(read(offer + offer + get("/slow")).requests) == 3


@pytest.mark.parametrize("name", INVALID)
def test_invalid_request_is_refused(name: str):
    data, status = INVALID[name]
    refusal = refusal_of(data)
    assert refusal is not None
    assert (refusal.status, refusal.fault) == (status, None)


# Extra spaces are found only in a request that begins what was read.
@pytest.mark.parametrize("name", [name for name in INVALID if "two spaces" not in name])
def test_invalid_request_is_refused_when_it_arrives_in_pieces(name: str):
    data, status = INVALID[name]
    refusal = refusal_of(data, size=997 if len(data) > 5_000 else 1)
    assert refusal is not None
    assert refusal.status == status


def test_refused_head_leaves_no_body_to_drop():
    recorder = Recorder()
    bad = request("PUT", "/%zz", "Content-Length: 5")
    assert isinstance(recorder.reader.feed(bad), Refusal)
    assert not recorder.reader.in_body
    assert recorder.requests == []


def test_broken_body_is_refused_as_part_of_its_request():
    recorder = Recorder()
    reader = recorder.reader
    chunked = request("PUT", "/a", "Transfer-Encoding: chunked")
    assert reader.feed(chunked + b"3\r\nabc\r\n") == BODY
    assert isinstance(reader.feed(b"zz\r\n"), Refusal)
    assert reader.in_body
    assert recorder.bodies == [b"abc"]


def test_trailers_are_dropped():
    chunked = request("PUT", "/a", "Transfer-Encoding: chunked")
    recorder = read(chunked + b"2\r\nab\r\n0\r\nX-Late: 1\r\n\r\n")
    assert recorder.bodies == [b"ab"]
    assert recorder.requests[0].header(b"x-late") is None


def test_many_small_chunks_are_no_overhead():
    recorder = Recorder()
    assert recorder.reader.feed(request("PUT", "/a", "Transfer-Encoding: chunked")) == BODY
    for _ in range(100):
        assert recorder.reader.feed(b"1\r\nx\r\n" * 500) == BODY
    assert recorder.reader.feed(b"0\r\n\r\n") is None
    assert (recorder.bodies, recorder.ended) == ([b"x" * 50_000], 1)


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b"", None),
        (get("/"), None),
        (get("/")[:-1], HEAD),
        (get("/") + b"G", HEAD),
        (request("PUT", "/", "Content-Length: 2"), BODY),
        (request("PUT", "/", "Content-Length: 2") + b"a", BODY),
        (request("PUT", "/", "Content-Length: 2") + b"ab", None),
        (request("PUT", "/", body=b""), None),
    ],
)
def test_feed_returns_what_is_unfinished(data: bytes, left: str | None):
    assert Recorder().reader.feed(data) == left


@given(cuts=st.lists(st.integers(0, 700), max_size=12))
def test_requests_may_be_fed_in_any_pieces(cuts: list[int]):
    data = b"".join(
        [
            get("/first", "X-Long: " + "v" * 100),
            request("PUT", "/second", body=b"body"),
            request("PUT", "/third", "Transfer-Encoding: chunked") + b"2\r\nch\r\n0\r\n\r\n",
            get("/fourth"),
        ]
    )
    recorder = Recorder()
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        left = recorder.reader.feed(data[start:cut])
        assert not isinstance(left, Refusal)
        start = max(start, cut)
    assert [got.path for got in recorder.requests] == ["/first", "/second", "/third", "/fourth"]
    assert recorder.bodies == [b"", b"body", b"ch", b""]
    assert recorder.ended == 2


@given(data=st.binary(max_size=200))
def test_no_bytes_raise_a_fault_in_the_reader(data: bytes):
    left = Recorder().reader.feed(data)
    assert left is None or left in {HEAD, BODY} or left.fault is None


def test_fault_of_the_receiver_is_returned_with_a_refusal():
    class Faulty(Recorder):
        def on_request(self, request: Request) -> None:
            raise RuntimeError("a fault")

    left = Faulty().reader.feed(get("/"))
    assert isinstance(left, Refusal)
    assert left.status == 400
    assert isinstance(left.fault, RuntimeError)


def test_closed_reader_does_not_keep_its_receiver_alive():
    recorder = read(get("/"))
    alive = weakref.ref(recorder)
    gc.disable()
    try:
        recorder.reader.close()
        del recorder
        assert alive() is None
    finally:
        gc.enable()
