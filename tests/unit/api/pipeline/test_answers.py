"""From replies to bytes: types, pretty printing, compression, redirects."""

from __future__ import annotations

import gzip
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.api.call import Reply
from bellcow.api.message import Request, Response
from bellcow.api.pipeline import answers

JSON = [(b"Content-Type", b"application/json")]


def request(query: bytes = b"", *, method: str = "GET", gzipped: bool = False) -> Request:
    headers = [(b"accept-encoding", b"gzip")] if gzipped else []
    return Request(method, "/v1/x", b"/v1/x", query, headers, "")


def test_a_bare_value_is_its_body() -> None:
    assert answers.encode(request(), answers.as_reply(True)) == (b"true", JSON)
    assert answers.encode(request(), answers.as_reply({"b": [], "a": None})) == (
        b'{"b":[],"a":null}',
        JSON,
    )


def test_none_is_no_body_and_has_no_type() -> None:
    assert answers.encode(request(), answers.as_reply(None)) == (b"", [])


def test_a_text_is_plain_and_what_is_no_text_in_it_is_replaced() -> None:
    body, headers = answers.encode(request(b"pretty"), Reply(text="caf\u00e9 \ud800"))
    assert body == "caf\u00e9 ?".encode()
    assert headers == [(b"Content-Type", b"text/plain; charset=utf-8")]


def test_a_type_that_is_given_is_kept() -> None:
    reply = Reply[None](encoded=b"x", content_type="application/x-gzip")
    assert answers.encode(request(), reply) == (b"x", [(b"Content-Type", b"application/x-gzip")])


@pytest.mark.parametrize("query", [b"pretty", b"pretty=1", b"pretty=false", b"pretty="])
def test_pretty_indents_by_four_and_ends_the_line(query: bytes) -> None:
    body, _ = answers.encode(request(query), Reply({"a": [1]}))
    assert body == b'{\n    "a": [\n        1\n    ]\n}\n'
    assert answers.encode(request(query), Reply(True))[0] == b"true\n"


def test_pretty_of_zero_is_not_pretty() -> None:
    assert answers.encode(request(b"pretty=0"), Reply({"a": 1}))[0] == b'{"a":1}'


def test_parts_with_an_encoder_of_their_own_stay_on_one_line() -> None:
    part = b'{"b":{"c":1}}'
    reply = Reply(encoded=b'{"a":%b}' % part, one_line=(part,))
    assert answers.encode(request(b"pretty"), reply)[0] == b'{\n    "a": %b\n}\n' % part


def test_a_body_is_compressed_once_and_only_when_taken() -> None:
    response = answers.pack(request(gzipped=True), Response(500, [], b"text"))
    assert gzip.decompress(response.body) == b"text"
    assert response.headers == [(b"Content-Encoding", b"gzip")]
    again = answers.pack(request(gzipped=True), response)
    assert gzip.decompress(again.body) == b"text"
    assert answers.pack(request(), Response(200, [], b"text")).body == b"text"


def test_an_empty_body_is_never_compressed() -> None:
    response = answers.pack(request(gzipped=True), Response(200, [], b""))
    assert response.body == b""
    assert response.headers == []


@given(st.binary(max_size=300))
def test_compressed_body_unpacks_to_the_same(body: bytes) -> None:
    assert gzip.decompress(answers.compress(body)) == body


def test_a_redirect_keeps_the_query_and_links_to_the_place() -> None:
    response = answers.redirect(301, "/v1/a", request(b"stale&x=%20"))
    assert response.status == 301
    assert (b"Location", b"/v1/a?stale&x=%20") in response.headers
    assert response.body == b'<a href="/v1/a?stale&amp;x=%20">Moved Permanently</a>.\n\n'
    assert answers.redirect(307, "/", request(method="PUT")).body == b""


@given(st.text(max_size=40))
def test_a_redirect_stays_on_this_server_and_on_one_line(path: str) -> None:
    clean = answers.cleaned(path)
    response = answers.redirect(301, clean, request())
    place = dict(response.headers)[b"Location"]
    assert place.startswith(b"/")
    assert not place.startswith((b"//", b"/\\"))
    assert place.isascii()
    assert place.decode().isprintable()
    assert unquote(place.decode(), errors="surrogatepass") == clean
    assert b"<" not in response.body[3:-30].partition(b">")[0]


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//v1//x", "/v1/x"),
        ("/v1/./x", "/v1/x"),
        ("/v1/y/../x", "/v1/x"),
        ("/v1/x/", "/v1/x/"),
        ("/..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/", "/"),
        ("", "/"),
        ("/v1/x/..//", "/v1/"),
    ],
)
def test_a_path_is_cleaned_as_go_cleans_it(path: str, clean: str) -> None:
    assert answers.cleaned(path) == clean


@given(st.lists(st.sampled_from(["v1", "x", "..", ".", "", "/"]), max_size=8).map("/".join))
def test_a_clean_path_is_not_cleaned_again(path: str) -> None:
    once = answers.cleaned(path)
    assert answers.cleaned(once) == once
    assert ".." not in once.split("/")


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(0, 9))))
def test_pretty_changes_the_layout_only(value: dict[str, object]) -> None:
    body, _ = answers.encode(request(b"pretty"), Reply(value))
    assert msgspec.json.decode(body) == value
