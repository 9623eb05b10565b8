"""What is read of an archive: known tables only, and what inspection shows of it."""

from __future__ import annotations

import io

import pytest
from tests.support.archive_parts import (
    META,
    ORIGIN,
    RAFT,
    RECORDS,
    STATE,
    members_of,
    pack,
    read,
    records_in,
    refusal,
    with_state,
    written,
)

import bellcow
from bellcow.errors import Code, Error
from bellcow.snapshot import archive


def test_unknown_types_are_named_and_refused():
    code, text = refusal(written(), known=["tokens"])
    assert code is Code.INVALID
    assert text.endswith("does not know these types of object in it: jobs")


def test_unknown_types_are_left_out_when_asked_for():
    packed = written()
    assert records_in(packed, known=["tokens"], skip_unknown=True) == [RECORDS[2]]
    assert read(packed, known=["tokens"], skip_unknown=True).skipped == {"jobs"}
    assert records_in(packed, known=["tokens", "jobs", "more"]) == RECORDS


def test_inspect_counts_by_type_and_names_the_largest():
    records = [*RECORDS, *(("nodes", f"{n:02}", b"x" * n) for n in range(20))]
    info = archive.inspect(io.BytesIO(written(records)))
    assert info == archive.Info(
        id="2-47-1795442474357",
        size=info.size,
        index=47,
        term=2,
        version=archive.META_VERSION,
        created_ns=1_795_442_474_357_000_000,
        writer=bellcow.__version__,
        cluster_id="c-1",
        region="global",
        stats=(("nodes", 20, 190), ("tokens", 1, 7), ("jobs", 3, 5)),
        largest=tuple(("nodes", f"{n:02}", n) for n in range(19, 9, -1)),
    )
    assert info.size == len(members_of(written(records))["state.bin"])


def test_inspect_checks_each_record():
    seen = []
    archive.inspect(io.BytesIO(written()), lambda meta: lambda record: seen.append((meta, record)))
    assert seen == [(read(written()).meta, record) for record in RECORDS]


def test_inspect_shows_the_envelope_of_an_archive_of_nomad():
    info = archive.inspect(
        io.BytesIO(pack(meta=META.replace(b"%d}" % len(STATE), b"90}"), state=b"\x80" * 90))
    )
    assert (info.id, info.size, info.writer, info.stats) == ("2-47-1795442474357", 90, "", ())


def test_inspect_refuses_in_the_same_words_without_the_prefix_of_a_restore():
    with pytest.raises(Error) as caught:
        archive.inspect(io.BytesIO(b"x"))
    assert caught.value.message == "failed to decompress snapshot: unexpected EOF"
    with pytest.raises(Error) as caught:
        archive.inspect(io.BytesIO(with_state(STATE[:-1])))
    assert caught.value.message == RAFT + "the state ends early"


@pytest.mark.parametrize("meta_id", ["", "x", "1-2-", "1-2-" + "9" * 400, "1-2-۳"])
def test_id_of_another_form_has_no_time(meta_id):
    meta = META.replace(b"2-47-1795442474357", meta_id.encode())
    assert archive.inspect(io.BytesIO(pack(meta=meta))).created_ns == 0


def test_an_archive_written_from_another_is_of_the_same_moment():
    again = read(written(origin=archive.origin_of(read(written()))))
    assert archive.origin_of(again) == ORIGIN
    assert again.meta == read(written()).meta
