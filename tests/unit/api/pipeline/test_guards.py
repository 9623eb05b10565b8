"""Whose name a request calls us by, where it comes from, and which token it carries."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bellcow.api.message import Request
from bellcow.api.pipeline.guards import KNOWN_HOSTS_LIMIT, Guards, secret_of
from bellcow.errors import Code, Error

LOOPBACK = {"loopback_only": True, "names": ["Node", "node.global"]}
SECRET = "11111111-2222-3333-4444-555555555555"


def request(method: str = "GET", **headers: str) -> Request:
    pairs = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    return Request(method, "/v1/x", b"/v1/x", b"", pairs, "127.0.0.1")


def carrying(*headers: tuple[bytes, bytes]) -> Request:
    return Request("GET", "/v1/x", b"/v1/x", b"", list(headers), "127.0.0.1")


def guards(**changed: object) -> Guards:
    return Guards(**{**LOOPBACK, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:4646",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]",
        "[::1]:4646",
        "[fe80::1%eth0]:4646",
        "localhost:",
        "10.0.0.7",
        "node",
        "NODE:4646",
        "node.global",
        "node.global:1",
    ],
)
def test_our_own_names_and_addresses_are_taken(host: str) -> None:
    guards().check(request(host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4646",
        "localhost.evil.example",
        "node.global.evil.example",
        "",
        ":4646",
        "127.0.0.1.evil.example",
        "[evil]",
        "[",
        "localhost ",
        "xnode",
        "node@evil",
        "a" * 10000,
        "evil\x1b[31m",
        "0x7f.1",
        "2130706433",
        "localhost.",
        "localhost:evil.example",
        "localhost:4646:4646",
        "localhost:999999",
        "[::1].evil.example",
        "[::1]evil",
        "[::1",
        "[localhost]",
        "::1",
        "evil@localhost",
        "localhost,evil.example",
        "localhost/evil",
    ],
)
def test_a_name_that_is_not_ours_is_misdirected(host: str) -> None:
    with pytest.raises(Error) as caught:
        guards().check(request(host=host))
    assert caught.value.code is Code.MISDIRECTED
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250


def test_a_listener_on_other_addresses_takes_every_name() -> None:
    guards(loopback_only=False).check(request(host="evil.example"))


def test_a_request_without_host_is_of_no_browser() -> None:
    guards().check(request())


def test_names_once_known_are_looked_up_and_the_list_stays_small() -> None:
    guard = guards()
    for number in range(KNOWN_HOSTS_LIMIT * 2):
        guard.check(request(host=f"127.0.0.1:{number}"))
    assert len(guard._known) == KNOWN_HOSTS_LIMIT
    with pytest.raises(Error):
        guard.check(request(host="evil.example"))


@given(st.binary(max_size=30), st.binary(max_size=30))
@example(b"http://[", b"localhost")
def test_any_origin_is_taken_or_denied(origin: bytes, host: bytes) -> None:
    asked = Request("PUT", "/", b"/", b"", [(b"host", host), (b"origin", origin)], "")
    try:
        guards(loopback_only=False).check(asked)
    except Error as error:
        assert error.code is Code.DENIED  # noqa: PT017  taken or refused, both are right


@given(st.text(max_size=30))
def test_any_host_is_taken_or_misdirected(host: str) -> None:
    asked = Request("GET", "/", b"/", b"", [(b"host", host.encode())], "")
    try:
        guards().check(asked)
    except Error as error:
        assert error.code is Code.MISDIRECTED  # noqa: PT017  taken or refused, both are right
        return
    assert "evil" not in host


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://localhost:9",
        "http://localhost.evil.example",
        "http://[",
        "http://]",
        "http://[::1",
        "http://localhost:4646@evil.example",
        "http://evil.example\x00",
        "ftp://localhost:4646",
        "http://evil.example#localhost",
        "localhost",
        "http://",
    ],
)
def test_a_page_of_another_site_changes_nothing_without_a_token(method: str, origin: str) -> None:
    with pytest.raises(Error) as caught:
        guards().check(request(method, host="localhost:4646", origin=origin))
    assert caught.value.code is Code.DENIED


def test_our_own_page_and_programs_may_change() -> None:
    guard = guards()
    guard.check(request("PUT", host="LocalHost:4646", origin="http://localhost:4646"))
    guard.check(request("PUT", host="localhost:4646"))


def test_reading_and_tokens_need_no_origin() -> None:
    foreign = {"host": "localhost", "origin": "https://evil.example"}
    guards().check(request("GET", **foreign))
    guards().check(request("PUT", **foreign, x_nomad_token=SECRET))
    guards().check(request("PUT", **foreign, authorization=f"Bearer {SECRET}"))
    with pytest.raises(Error):
        guards().check(request("PUT", **foreign, x_nomad_token=""))


def test_a_secret_comes_in_either_header() -> None:
    secret = SECRET.encode()
    for header in (
        (b"x-nomad-token", secret),
        (b"x-nomad-token", b" \t" + secret + b" "),
        (b"authorization", b"Bearer " + secret),
        (b"authorization", b"bEARER  " + secret),
    ):
        assert secret_of(carrying(header)) == SECRET
        assert secret_of(carrying(header, header)) == SECRET
    assert secret_of(carrying((b"x-nomad-token", b""), (b"x-nomad-token", secret))) == SECRET


@pytest.mark.parametrize("value", [b"Basic x", b"Bearer", b"Bearer ", b"", b"Token x", b"Bearerx"])
def test_other_ways_to_authorize_carry_no_secret(value: bytes) -> None:
    assert not secret_of(carrying((b"authorization", value)))
    assert not secret_of(carrying())


def test_two_secrets_that_disagree_are_refused() -> None:
    one, other = (b"x-nomad-token", b"a" * 36), (b"x-nomad-token", b"b" * 36)
    bearer = (b"authorization", b"Bearer " + b"b" * 36)
    for pair in ((one, other), (other, one), (one, bearer), (bearer, one)):
        with pytest.raises(Error) as caught:
            secret_of(carrying(*pair))
        assert caught.value.code is Code.DENIED
    assert secret_of(carrying(other, bearer)) == "b" * 36


@given(st.binary(max_size=40))
def test_any_bytes_are_a_secret_that_encodes_to_the_same_bytes(raw: bytes) -> None:
    secret = secret_of(carrying((b"x-nomad-token", raw)))
    assert secret.encode("utf-8", "surrogateescape") == raw.strip()
