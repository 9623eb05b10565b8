"""Feeds damaged texts to the reader of durations: what it reads it also writes, and reads again.

python -m tests.fuzz.fuzz_duration [SECONDS] [SEED]
"""

from __future__ import annotations

from tests.fuzz.mutation import Target, main

from bellcow.gocompat.duration import format_duration, parse_duration

SAMPLES = (
    b"1h30m0s",
    b"200ms",
    b"-1.5h",
    b"+5s",
    b".5s",
    b"1\xc2\xb5s",
    b"1\xce\xbcs",
    b"0",
    b"1h1h",
)
PIECES = (
    b"9" * 19,
    b"0" * 30,
    b"h",
    b"ms",
    b"ns",
    b".",
    b"-",
    b"\xc2\xb5",
    b"\xd9\xa3",
    b" ",
    b"\0",
    b"e",
)
TEXT_MAX = 2_000  # longer ones are refused before they come here
MOST = 1 << 63


def check(data: bytes) -> None:
    text = data[:TEXT_MAX].decode("utf-8", "replace")
    try:
        ns, refusal = parse_duration(text), ""
    except ValueError as error:
        ns, refusal = 0, str(error)
    assert not refusal or refusal.startswith("time: "), refusal
    assert refusal.isascii(), refusal
    assert -MOST <= ns < MOST
    assert parse_duration(format_duration(ns)) == ns


TARGET = Target(check, SAMPLES, PIECES)

if __name__ == "__main__":
    main(TARGET)
