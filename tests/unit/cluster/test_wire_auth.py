"""Signed messages: what is believed, what is not, and that memory is bounded."""

from __future__ import annotations

import tracemalloc

import pytest
from tests.sim.clock import FixedClock

from bellcow.cluster.wire_auth import Nonces, Secret, check_is_server, check_names
from bellcow.errors import Code, Error

KEY = b"k" * 16
PATH = "/v1/internal/hello"


class Pair:
    """Two servers with one key and two clocks."""

    def __init__(self, *, key: bytes = KEY, ahead_s: float = 0.0) -> None:
        self.here, self.there = FixedClock(seed=1), FixedClock(seed=2)
        self.there.advance(ahead_s)
        self.mine = Secret(KEY, "me", self.here)
        self.theirs = Secret(key, "they", self.there)

    def header(self, body: bytes = b"body", to: str = "me") -> bytes:
        return self.theirs.sign("POST", PATH, body, to)[0].encode()

    def check(self, header: bytes | None, body: bytes = b"body", path: str = PATH) -> str:
        return self.mine.check("POST", path, body, header)

    def refusal(self, header: bytes | None, body: bytes = b"body", path: str = PATH) -> str:
        with pytest.raises(Error) as caught:
            self.check(header, body, path)
        assert caught.value.code is Code.DENIED
        return caught.value.message


@pytest.mark.parametrize("to", ["me", ""])
def test_signed_message_to_us_or_to_whoever_is_here_is_believed(to: str):
    pair = Pair()
    header, nonce = pair.theirs.sign("POST", PATH, b"body", to)
    assert pair.check(header.encode()) == nonce


def test_message_for_another_server_is_not():
    pair = Pair()
    assert pair.refusal(pair.header(to="other")) == "signed for another server"


def test_another_key_is_named_as_the_reason():
    pair = Pair(key=b"x" * 32)
    assert "another key" in pair.refusal(pair.header())


def test_message_without_a_signature_is_refused():
    assert "not signed" in Pair().refusal(None)


@pytest.mark.parametrize("part", range(5))
def test_each_part_of_the_header_counts(part: int):
    pair = Pair()
    parts = pair.header().split(b" ")
    parts[part] = {0: b"2", 1: b"7", 2: b"0" * 24, 3: b"-", 4: b"00" * 32}[part]
    assert pair.refusal(b" ".join(parts))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"1",
        b"1 x y z w",
        b"1 1 2 3 4 5",
        b"1 " + b"9" * 400 + b" " + b"a" * 24 + b" - 00",
        b"1 1 " + b"\xff" * 24 + b" - 00",
        b"1 1 " + b"a" * 24 + b" - zz",
        "1 ² aaaaaaaaaaaaaaaaaaaaaaaa - 00".encode(),
    ],
)
def test_header_that_is_none_is_refused(header: bytes):
    assert "form that is not known" in Pair().refusal(header)


def test_body_and_path_are_what_was_signed():
    pair = Pair()
    assert "another key" in pair.refusal(pair.header(), body=b"Body")
    assert "another key" in pair.refusal(pair.header(), path=PATH + "x")


@pytest.mark.parametrize(("ahead_s", "good"), [(29, True), (-29, True), (31, False), (-31, False)])
def test_clocks_may_be_half_a_minute_apart(ahead_s: float, good: bool):
    pair = Pair(ahead_s=ahead_s)
    if good:
        assert pair.check(pair.header())
    else:
        assert f"{ahead_s:+d} s from now" in pair.refusal(pair.header())


def test_message_is_believed_once():
    pair = Pair()
    header = pair.header()
    assert pair.check(header)
    assert pair.refusal(header) == "a message that was sent before"
    pair.here.advance(29)
    assert pair.refusal(header) == "a message that was sent before"
    pair.here.advance(2)
    assert "from now" in pair.refusal(header)


def test_forged_message_leaves_no_trace_in_memory():
    pair = Pair()
    for _ in range(10):
        pair.refusal(pair.header(), body=b"another")
    assert len(pair.mine._nonces) == 0


def test_answer_belongs_to_its_request():
    pair = Pair()
    proof = pair.mine.sign_answer("nonce", 200, b"answer")
    pair.theirs.check_answer("nonce", 200, b"answer", proof)
    for nonce, status, body, shown in (
        ("other", 200, b"answer", proof),
        ("nonce", 201, b"answer", proof),
        ("nonce", 200, b"Answer", proof),
        ("nonce", 200, b"answer", None),
        ("nonce", 200, b"answer", "é"),
        ("nonce", 200, b"answer", "\udcff\ud800"),
    ):
        with pytest.raises(Error):
            pair.theirs.check_answer(nonce, status, body, shown)


def test_request_cannot_be_passed_off_as_an_answer():
    pair = Pair()
    header, nonce = pair.theirs.sign("POST", PATH, b"body", "me")
    with pytest.raises(Error):
        pair.theirs.check_answer(nonce, 200, b"body", header.split(" ")[-1])


def test_empty_key_signs_nothing():
    assert not Secret(b"", "me", FixedClock())
    assert Secret(KEY, "me", FixedClock())


# --- the memory of what was accepted


def test_memory_of_nonces_is_emptied_in_time():
    nonces = Nonces()
    for second in range(1_000):
        now_ms = 1_000 * second
        assert all(nonces.take(now_ms, f"{second} {each}", now_ms) for each in range(10))
    assert len(nonces) <= 330


def test_memory_of_nonces_from_a_future_that_was_taken_back_is_emptied_too():
    nonces = Nonces()
    for second in (*range(9_000, 9_030), *range(40)):
        assert nonces.take(1_000 * second, "x", 1_000 * second)
    assert len(nonces) <= 40


def test_full_memory_refuses_the_oldest_times_rather_than_forget_them():
    nonces = Nonces(most=10)
    now_ms = 100_000
    assert all(nonces.take(80_000, f"old {each}", now_ms) for each in range(10))
    assert nonces.take(90_000, "new", now_ms)
    assert len(nonces) <= 10
    assert not nonces.take(80_000, "old 1", now_ms)
    assert not nonces.take(80_000, "never seen", now_ms)
    assert nonces.take(90_000, "newer", now_ms)


def test_full_memory_of_one_second_refuses_what_comes_in_it():
    nonces = Nonces(most=3)
    assert [nonces.take(5_000, f"{each}", 5_000) for each in range(5)] == [True] * 3 + [False] * 2
    assert nonces.take(6_000, "next", 6_000)


# --- certificates


def test_certificate_is_of_a_server_of_the_region():
    check_names(("localhost", "server.global.nomad"), "global")
    for names in ((), ("client.global.nomad",), ("server.eu.nomad",), ("server.global.nomad.x",)):
        with pytest.raises(Error, match=r"server\.global\.nomad"):
            check_names(names, "global")


def test_certificate_is_of_a_server_of_any_region():
    check_is_server(("server.eu.nomad",))
    for names in ((), ("client.eu.nomad",), ("localhost",)):
        with pytest.raises(Error, match="not one of a server"):
            check_is_server(names)


def test_while_a_key_is_changed_both_are_believed_and_the_first_signs():
    old, new = b"o" * 32, b"n" * 32
    clock = FixedClock(seed=1)
    changed, waiting = Secret(new, "a", clock, (old,)), Secret(old, "b", clock, (new,))
    for one, other, name in ((changed, waiting, "b"), (waiting, changed, "a")):
        header, nonce = one.sign("POST", PATH, b"body", name)
        assert other.check("POST", PATH, b"body", header.encode()) == nonce
        one.check_answer(nonce, 200, b"yes", other.sign_answer(nonce, 200, b"yes"))
    done = Secret(new, "c", clock)
    done.check("POST", PATH, b"", changed.sign("POST", PATH, b"", "c")[0].encode())
    with pytest.raises(Error, match="another key"):
        done.check("POST", PATH, b"", waiting.sign("POST", PATH, b"", "c")[0].encode())


def test_large_answer_is_signed_without_a_copy_of_it():
    secret, body = Secret(KEY, "me", FixedClock()), bytes(4 << 20)
    tracemalloc.start()
    try:
        secret.sign_answer("n", 200, body)
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
    finally:
        tracemalloc.stop()
