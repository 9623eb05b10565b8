"""What is written: three files as Nomad writes them, and what reads back from them."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.archive_parts import (
    META,
    ORIGIN,
    RECORDS,
    ROOM,
    STATE,
    SUMS,
    read,
    records_in,
    sums,
    written,
)

import bellcow
from bellcow.snapshot import archive


def test_archive_reads_back_as_it_was_written():
    read_back = read(written())
    assert list(read_back.records()) == RECORDS
    assert list(read_back.records()) == RECORDS
    assert read_back.meta == archive.Meta(
        id="2-47-1795442474357",
        index=47,
        term=2,
        peers="ka4xMjcuMC4wLjE6NDY0Nw==",
        configuration=archive.Peers(servers=ORIGIN.servers),
        configuration_index=1,
        size=len(STATE),
    )
    assert read_back.header == archive.Header(
        format=1,
        version=bellcow.__version__,
        cluster_id="c-1",
        region="global",
        index=47,
        wall_ns=ORIGIN.wall_ns,
        counts={"jobs": 3, "tokens": 1},
    )


def test_empty_state_is_a_whole_archive():
    assert records_in(written([])) == []


def test_meta_is_written_as_nomad_writes_it():
    assert (
        b'{"Version":1000,"ID":"2-47-1795442474357","Index":47,"Term":2,"Peers":"ka4xMjcuMC4wLjE6NDY0Nw==",'
        b'"Configuration":{"Servers":[{"Suffrage":0,"ID":"aaed","Address":"127.0.0.1:4647"},'
        b'{"Suffrage":1,"ID":"bbed","Address":"127.0.0.2:4647"}]},"ConfigurationIndex":1,'
        b'"Size":%d}\n' % len(STATE)
    ) == META


def test_strict_reader_finds_three_plain_members_in_order_and_an_exact_end():
    raw = gzip.decompress(written())
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        found = opened.getmembers()
    assert [member.name for member in found] == ["meta.json", "state.bin", "SHA256SUMS"]
    for member in found:
        assert member.isreg()
        assert (member.mode, member.uid, member.gid) == (0o600, 0, 0)
        assert (member.uname, member.gname, member.mtime) == ("", "", 1_795_442_474)
    end = found[-1].offset_data + 512
    assert raw[end:] == bytes(1024)
    assert raw[257:265] == b"ustar\00000"
    assert sums(("meta.json", META), ("state.bin", STATE)).encode() == SUMS


def test_gzip_header_holds_neither_name_nor_time():
    assert written()[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_archive_without_isal_has_the_same_content(monkeypatch):
    fast = gzip.decompress(written())
    monkeypatch.setitem(sys.modules, "isal", None)
    slow = written()
    assert gzip.decompress(slow) == fast
    assert slow[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


@settings(max_examples=60, derandomize=True, database=None)
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=8), st.binary(max_size=90))))
def test_any_records_read_back_as_they_were_written(records):
    assert records_in(written(records)) == records


def test_frames_of_many_and_of_large_objects_read_back():
    records = [("t", str(n), b"x" * (n * 1_000)) for n in range(300)]
    assert records_in(written(records)) == records


def test_many_objects_are_written_and_read_in_little_memory(tmp_path):
    def records():
        return (("t", f"{n:036}", n.to_bytes(4, "big") * 75) for n in range(50_000))

    with (
        (tmp_path / "snap").open("w+b") as out,
        (tmp_path / "spool").open("w+b") as spool,
        (tmp_path / "back").open("w+b") as back,
    ):
        tracemalloc.start()
        archive.write(out, ORIGIN, records(), spool)
        out.seek(0)
        count = sum(1 for _ in archive.read(out, back, ROOM).records())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 4 << 20
