"""A broken state in a sound envelope: no crash, and the client reads what is wrong."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.archive_parts import RAFT, STATE, flips, outcome, records_in, refusal, with_state

import bellcow
from bellcow.errors import Code
from bellcow.snapshot import archive


def test_no_messagepack_reader_takes_the_state_for_its_own():
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(STATE)


def test_state_cut_at_every_byte_is_invalid():
    for cut in range(len(STATE)):
        code, text = refusal(with_state(STATE[:cut]))
        assert code is Code.INVALID
        assert text.startswith(RAFT)


def test_flipped_bit_in_a_state_with_right_hashes_never_crashes_the_reader():
    outcomes = [outcome(with_state(damaged)) for damaged in flips(STATE, 3)]
    refusals = [each for each in outcomes if isinstance(each, Code)]
    assert set(refusals) == {Code.INVALID}
    assert len(refusals) > 100


def frame(content):
    body = msgspec.msgpack.encode(content)
    return len(body).to_bytes(4, "big") + body


def state_of(counts, records, trailer=None, **fields):
    start = frame({"format": 1, "version": "9.9.9", "counts": counts, **fields})
    end = frame({"counts": counts if trailer is None else trailer})
    return archive.MAGIC + start + b"".join(frame(each) for each in records) + bytes(4) + end


ONE = [[("jobs", "a", b"1")]]


def test_state_made_by_hand_is_read():
    assert records_in(with_state(state_of({"jobs": 1}, ONE))) == [("jobs", "a", b"1")]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (b"\x80" + b"x" * 90, "a snapshot of Nomad itself cannot be restored"),
        (b"", "a snapshot of Nomad itself cannot be restored"),
        (state_of({"jobs": 2}, ONE), "1 objects of type 'jobs', and 2 were written"),
        (state_of({"jobs": 1}, ONE, {"jobs": 2}), "1 objects of type 'jobs', and 1 were written"),
        (state_of({"jobs": 1}, ONE, {}), "1 objects of type 'jobs', and 1 were written"),
        (state_of({}, ONE), "of a type that its header does not name: jobs"),
        (state_of({"jobs": 1}, ONE) + b"x", "something follows the end of the state"),
        (state_of({"jobs": 1}, [["jobs"]]), "an object cannot be read"),
        (state_of({"jobs": 1}, [[("jobs", 1, b"1")]]), "an object cannot be read"),
        (state_of({"jobs": 1}, [5]), "an object cannot be read"),
        (state_of({"jobs": "1"}, ONE), "the header of the state cannot be read"),
        (state_of({"jobs": 1}, ONE, 5), "the end of the state cannot be read"),
        (state_of({}, [], format=0), "in format 0, and bellcow"),
        (archive.MAGIC + b"\xff\xff\xff\xff", "at most 67108864 are possible"),
        (
            state_of({}, [], format=2),
            f"bellcow 9.9.9 wrote it in format 2, and bellcow {bellcow.__version__} knows",
        ),
    ],
)
def test_broken_state_in_a_sound_envelope_is_invalid_and_says_why(state, text):
    code, message = refusal(with_state(state))
    assert code is Code.INVALID
    assert message.startswith(RAFT)
    assert text in message


def test_deep_nesting_in_the_state_is_no_crash():
    body = b"\x91" * 200_000
    state = archive.MAGIC + frame({"format": 1}) + len(body).to_bytes(4, "big") + body
    assert refusal(with_state(state))[0] is Code.INVALID
