"""Feeds damaged bodies to the decoder: a struct or a refusal, from both readers the same.

python -m tests.fuzz.fuzz_decode [SECONDS] [SEED]
"""

from __future__ import annotations

import msgspec
from tests.fuzz.mutation import Target, main

from bellcow.gocompat.json import decode
from bellcow.gocompat.json_reader import DecodeError
from bellcow.model.acl import ACLPolicy, ACLToken
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.wire import to_json

KINDS = (AutopilotConfiguration, SchedulerConfiguration, ACLToken, ACLPolicy)
SAMPLES = (
    *(to_json(kind()) for kind in KINDS),
    b'{"SchedulerConfig":{"SchedulerAlgorithm":"spread"},"Index":5}',
    b'{"Policies":["a","b"],"Other":[[{"a":null}],1.5e3,"\\u00e9\\n"]}',
    b" null ",
    b"",
)
PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u00",
    b"\\ud83d\\udc04",
    b"-0",
    b"1e9",
)
PIECES += (
    b"null",
    b"true",
    b"\xff",
    b"\xef\xbb\xbf",
    b"9" * 50,
    b'"MinQuorum":',
    b" ",
    b"\0",
    b"[" * 600,
)
LONGEST = 600  # of what a refusal repeats


def outcome(kind: type, body: bytes) -> tuple[bytes, str]:
    """The struct as it is stored, or the refusal."""
    try:
        decoded = decode(kind, body)
    except DecodeError as error:
        return b"", str(error)
    assert isinstance(decoded.value, kind)
    return to_json(decoded.value), ""


def check(body: bytes) -> None:
    for kind in KINDS:
        found = outcome(kind, body)
        assert len(found[1]) < LONGEST, len(found[1])
        if not found[1]:
            # Junk behind the first value sends any body to the slow reader.
            assert outcome(kind, body + b" \0") == found
            msgspec.json.decode(found[0])


TARGET = Target(check, SAMPLES, PIECES)

if __name__ == "__main__":
    main(TARGET)
