"""Verifying records: what is decoded, whose id it has, and what may be there only once."""

from __future__ import annotations

import io

import msgspec
import pytest
from tests.support.rows import ACCESSOR, token

from bellcow.errors import Code, Error
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.namespace import Namespace
from bellcow.snapshot import archive
from bellcow.snapshot.verify import Verifier, for_archive
from bellcow.state.tables import Deletion
from bellcow.wire import to_msgpack

OTHER = ACCESSOR.replace("a", "c")
DEEP = b"\x81\xa3new" + b"\x91" * 100_000 + b"\xc0"


def namespace(name: str, row_id: str | None = None) -> archive.Record:
    return "namespaces", name if row_id is None else row_id, to_msgpack(Namespace(name=name))


def token_record(accessor: str = ACCESSOR, **fields) -> archive.Record:
    return "acl_tokens", accessor, to_msgpack(token(accessor_id=accessor, **fields))


def setting(**fields) -> archive.Record:
    return "autopilot_configuration", "-", msgspec.msgpack.encode(fields)


def refusal(*records: archive.Record, index: int = 100, **options) -> str:
    verifier = Verifier(index, **options)
    for record in records[:-1]:
        verifier.check(record)
    with pytest.raises(Error) as caught:
        verifier.check(records[-1])
    assert caught.value.code is Code.INVALID
    assert caught.value.message.startswith(archive.RAFT)
    return caught.value.message.removeprefix(archive.RAFT)


def test_sound_records_pass():
    verifier = Verifier(100)
    for record in (
        namespace("default"),
        namespace("other"),
        token_record(),
        token_record(OTHER, secret_id=OTHER),
        ("deletions", "namespaces", to_msgpack(Deletion(modify_index=100))),
        ("autopilot_configuration", "-", to_msgpack(AutopilotConfiguration())),
        ("nodes", "of a later version", b"\xc1"),
    ):
        verifier.check(record)


def test_two_tokens_with_one_secret_are_refused():
    text = refusal(token_record(), token_record(OTHER))
    assert text == f'acl_tokens "{OTHER}": another token has the same secret'


def test_row_that_is_there_twice_is_refused():
    assert refusal(namespace("a"), namespace("a")) == 'namespaces "a": the id occurs twice'


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (namespace("a", "b"), 'namespaces "b": its id should be "a"'),
        ((*token_record()[:1], OTHER, *token_record()[2:]), f'its id should be "{ACCESSOR}"'),
        (
            ("autopilot_configuration", "x", to_msgpack(AutopilotConfiguration())),
            'its id should be "-"',
        ),
        (("deletions", "nodes", to_msgpack(Deletion())), "there is no table of that name"),
    ],
)
def test_row_under_another_id_than_its_own_is_refused(record, text):
    assert text in refusal(record)


@pytest.mark.parametrize(
    "value", [[], {}, float("nan"), 2.5, True, 2**63, -(2**63), "5", "99999999999h", None]
)
def test_duration_that_is_none_is_refused(value):
    assert refusal(setting(LastContactThreshold=value)).startswith(
        'autopilot_configuration "-": it cannot be decoded: '
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, "7", [1], 2**64])
def test_number_that_is_none_is_refused(value):
    record = setting(MaxTrailingLogs=value) if value != 2**64 else None
    if record is None:  # no MessagePack holds it as a number
        record = "autopilot_configuration", "-", b"\x81\xafMaxTrailingLogs\xca\x5f\x80\x00\x00"
    assert 'autopilot_configuration "-": ' in refusal(record)


@pytest.mark.parametrize("table", ["namespaces", "acl_policies", "autopilot_configuration"])
def test_object_nested_very_deep_is_refused(table):
    assert "it cannot be decoded: " in refusal((table, "-", DEEP))


def test_object_larger_than_the_store_takes_is_refused():
    record = namespace("a")
    size = len(record[2])
    Verifier(100, size).check(record)
    text = refusal(record, object_bytes=size - 1)
    assert text == f'namespaces "a": it has {size} bytes, and at most {size - 1} are possible'


def test_what_the_archive_says_is_cut_and_escaped():
    evil = "\x1b[31m\u202e<b>" + "x" * 500
    text = refusal(namespace(evil, evil))
    assert text.isprintable()
    assert text.startswith('namespaces "\\x1b[31m\\u202e<b>')
    assert len(text) < 400


def test_indexes_are_held_against_those_of_the_archive():
    late = ("namespaces", "a", to_msgpack(Namespace(name="a", modify_index=48)))
    out = io.BytesIO()
    archive.write(out, archive.Origin(index=47, term=1, wall_ns=0), [late], io.BytesIO())
    with pytest.raises(Error, match='namespaces "a": CreateIndex 0, ModifyIndex 48'):
        archive.inspect(out, for_archive)
