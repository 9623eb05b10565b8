"""The archive: what is written, each refusal word for word, and damage in every place."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bellcow
from bellcow.errors import Code, Error
from bellcow.model.bounds import ARCHIVE_INDEX_MAX
from bellcow.snapshot.archive import archive
from bellcow.snapshot.archive.archive import PREFIX, Limit, Origin, Peer

ORIGIN = Origin(
    index=47,
    term=2,
    wall_ns=1_795_442_474_357_000_000,
    cluster_id="c-1",
    region="global",
    servers=(
        Peer(id="aaed", address="127.0.0.1:4647"),
        Peer(suffrage=1, id="bbed", address="127.0.0.2:4647"),
    ),
    configuration_index=1,
)
RECORDS = [
    ("jobs", "a", b"\x81\xa1a\x01"),
    ("jobs", "b", b"\x80"),
    ("tokens", "a", b"\x81\xa1s\xa3xyz"),
    ("jobs", "", b""),
]
ROOM = Limit(64 << 20)
NOTHING = hashlib.sha256().hexdigest()
RAFT = "Raft error when restoring snapshot: "
UNREAD = "failed to read snapshot file: "
UNSOUND = UNREAD + "failed checking integrity of snapshot: "


def written(records=RECORDS, origin=ORIGIN):
    out = io.BytesIO()
    result = archive.write(out, origin, iter(records), io.BytesIO())
    assert result == archive.Written(
        size=len(out.getvalue()), sha256=hashlib.sha256(out.getvalue()).digest()
    )
    return out.getvalue()


def read(packed, limit=ROOM, **options):
    return archive.read(io.BytesIO(packed), io.BytesIO(), limit, **options)


def records_in(packed, **options):
    return list(read(packed, **options).records())


def refusal(packed, **options):
    """The error, its prefix taken off."""
    with pytest.raises(Error) as caught:
        records_in(packed, **options)
    assert caught.value.message.startswith(PREFIX)
    return caught.value.code, caught.value.message.removeprefix(PREFIX)


def header(name, size, kind=b"0", **fields):
    block = bytearray(512)
    block[: len(name)] = name.encode()
    for start, width, number in ((100, 8, 0o600), (124, 12, size), (136, 12, 0)):
        block[start : start + width - 1] = b"%0*o" % (width - 1, number)
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    for start, content in fields.get("over", ()):
        block[start : start + len(content)] = content
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def tar(*members, closing=1024):
    return b"".join(
        header(name, len(body)) + body + bytes(-len(body) % 512) for name, body in members
    ) + bytes(closing)


def members_of(packed):
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


def sums(*members):
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in members)


GOOD = members_of(written())
META, STATE, SUMS = GOOD["meta.json"], GOOD["state.bin"], GOOD["SHA256SUMS"]


def pack(meta=META, state=STATE, listed=None, extra=(), closing=1024):
    """A gzip of the three members with right hashes, but for what the test changes."""
    both = (("meta.json", meta), ("state.bin", state))
    listed = sums(*both).encode() if listed is None else listed
    return gzip.compress(tar(*both, ("SHA256SUMS", listed), *extra, closing=closing), 1)


def with_state(state):
    """Right hashes and the right size around any state."""
    return pack(meta=msgspec.json.encode({"Version": 1, "Size": len(state)}), state=state)


# Writing.


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


def test_archive_without_isal_holds_the_same(monkeypatch):
    fast = gzip.decompress(written())
    monkeypatch.setitem(sys.modules, "isal", None)
    slow = written()
    assert gzip.decompress(slow) == fast
    assert slow[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_no_messagepack_reader_takes_the_state_for_its_own():
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(STATE)


@settings(max_examples=60, derandomize=True, database=None)
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=8), st.binary(max_size=90))))
def test_any_records_read_back_as_they_were_written(records):
    assert records_in(written(records)) == records


def test_frames_of_many_and_of_large_objects_read_back():
    records = [("t", str(n), b"x" * (n * 1_000)) for n in range(300)]
    assert records_in(written(records)) == records


# Each refusal of the envelope, as recorded from the real server.

OTHER_META = META.replace(b'"Index":47', b'"Index":48')
REFUSALS = {
    "empty body": (b"", "failed to decompress snapshot: EOF"),
    "shorter than a gzip header": (b"x", "failed to decompress snapshot: unexpected EOF"),
    "text": (b"hello world, not a snapshot", "failed to decompress snapshot: gzip: invalid header"),
    "tar without gzip": (
        gzip.decompress(written()),
        "failed to decompress snapshot: gzip: invalid header",
    ),
    "gzip of something short": (
        gzip.compress(b"not a tar"),
        UNREAD + "failed reading snapshot: unexpected EOF",
    ),
    "gzip of something long": (
        gzip.compress(b"z" * 2_000),
        UNREAD + "failed reading snapshot: archive/tar: invalid tar header",
    ),
    "gzip of nothing": (gzip.compress(b""), UNSOUND + 'file missing for "meta.json"'),
    "empty tar": (gzip.compress(bytes(1_024)), UNSOUND + 'file missing for "meta.json"'),
    "no sums": (
        gzip.compress(tar(("meta.json", META), ("state.bin", STATE))),
        UNSOUND + 'file missing for "meta.json"',
    ),
    "sums of meta.json only": (
        pack(listed=sums(("meta.json", META)).encode()),
        UNSOUND + 'file missing for "state.bin"',
    ),
    "additional member": (
        pack(extra=[("extra.txt", b"x")]),
        UNREAD + 'unexpected file "extra.txt" in snapshot',
    ),
    "names that begin with ./": (
        gzip.compress(tar(("./meta.json", META))),
        UNREAD + 'unexpected file "./meta.json" in snapshot',
    ),
    "way out of the directory": (
        pack(extra=[("../../evil", b"x")]),
        UNREAD + 'unexpected file "../../evil" in snapshot',
    ),
    "absolute name": (
        pack(extra=[("/etc/passwd", b"x")]),
        UNREAD + 'unexpected file "/etc/passwd" in snapshot',
    ),
    "name with quotes and a line feed": (
        pack(extra=[('a"\n', b"x")]),
        UNREAD + 'unexpected file "a\\"\\n" in snapshot',
    ),
    "no state.bin": (
        gzip.compress(tar(("meta.json", META), ("SHA256SUMS", SUMS))),
        UNSOUND + 'hash check failed for "state.bin"',
    ),
    "no meta.json": (
        gzip.compress(tar(("state.bin", STATE), ("SHA256SUMS", SUMS))),
        UNSOUND + 'hash check failed for "meta.json"',
    ),
    "no meta.json, and sums that say so": (
        gzip.compress(tar(("SHA256SUMS", sums(("state.bin", b""), ("meta.json", b"")).encode()))),
        UNREAD + "failed to decode snapshot metadata: unexpected end of JSON input",
    ),
    "state.bin changed": (
        pack(state=STATE[:-1] + b"x", listed=SUMS),
        UNSOUND + 'hash check failed for "state.bin"',
    ),
    "meta.json changed": (
        pack(meta=OTHER_META, listed=SUMS),
        UNSOUND + 'hash check failed for "meta.json"',
    ),
    "sums are nonsense": (pack(listed=b"nonsense\n"), UNSOUND + "no hex data for %x string"),
    "sums with an empty line": (pack(listed=SUMS + b"\n"), UNSOUND + "EOF"),
    "sums of another file": (
        pack(listed=SUMS + NOTHING.encode() + b"  other\n"),
        UNSOUND + 'list missing hash for "other"',
    ),
    "bytes after the tar": (
        gzip.compress(gzip.decompress(pack()) + bytes(6143) + b"x"),
        "6144 unread uncompressed bytes remain",
    ),
    "bytes after the gzip": (written() + b"trailing", "unexpected EOF"),
    "many bytes after the gzip": (written() + b"t" * 40, "gzip: invalid header"),
    "second gzip member": (written() + gzip.compress(b""), "gzip: invalid header"),
    "second gzip member with content": (written() + written(), "gzip: invalid header"),
    "zeros after the gzip": (written() + bytes(512), "gzip: invalid header"),
    "without the last 4 bytes": (written()[:-4], "unexpected EOF"),
    "checksum of the gzip": (
        written()[:-8] + bytes(4) + written()[-4:],
        "gzip: invalid checksum",
    ),
    "zero block and another": (
        gzip.compress(bytes(512) + b"x" * 512),
        UNREAD + "failed reading snapshot: archive/tar: invalid tar header",
    ),
    "zero block and a half": (
        gzip.compress(bytes(512) + b"x" * 5),
        UNREAD + "failed reading snapshot: unexpected EOF",
    ),
    "meta.json twice": (
        pack(extra=[("meta.json", META)]),
        UNSOUND + 'hash check failed for "meta.json"',
    ),
    "SHA256SUMS twice": (
        pack(extra=[("SHA256SUMS", SUMS)]),
        UNSOUND + 'hash check failed for "SHA256SUMS"',
    ),
    "version 7": (
        pack(meta=META.replace(b'"Version":1000', b'"Version":7')),
        RAFT + "unsupported snapshot version 7",
    ),
    "size 5 too large": (
        pack(meta=META.replace(b'"Size":%d' % len(STATE), b'"Size":%d' % (len(STATE) + 5))),
        RAFT + f"failed to write snapshot, size didn't match ({len(STATE)} != {len(STATE) + 5})",
    ),
}


@pytest.mark.parametrize(("packed", "text"), REFUSALS.values(), ids=REFUSALS)
def test_bad_envelope_is_refused_with_the_text_of_the_real_server(packed, text):
    assert refusal(packed) == (Code.REFUSED, text)


@pytest.mark.parametrize(
    "meta",
    [
        b"{broken",
        b"",
        b"[]",
        b"null",
        b'{"Index":9223372036854775808}',
        b'{"Index":-1}',
        b'{"Index":"1"}',
        b'{"ID":"\xff"}',
        b'{"X":' + b"[" * 100_000,
        b'{"X":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Version":1}{}',
    ],
    ids=lambda meta: meta[:20].decode("latin-1") + str(len(meta)),
)
def test_meta_that_is_no_metadata_is_refused(meta):
    code, text = refusal(pack(meta=meta))
    assert code is Code.REFUSED
    assert text.startswith(UNREAD + "failed to decode snapshot metadata: ")


def test_cut_in_half_inside_the_state_is_an_unexpected_end():
    state = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(3_000))
    packed = pack(state=state)
    text = UNREAD + "failed to read or write snapshot data: unexpected EOF"
    assert refusal(packed[: len(packed) // 2]) == (Code.REFUSED, text)


def test_damaged_compression_is_refused():
    packed = bytearray(written())
    packed[10] = 0x07  # a type of block that does not exist
    expected = UNREAD + "failed reading snapshot: flate: corrupt input"
    assert refusal(bytes(packed)) == (Code.REFUSED, expected)


def test_form_upload_is_told_to_send_the_archive_itself():
    body = b'--bd\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + written() + b"\r\n--bd--"
    code, text = refusal(body)
    assert code is Code.REFUSED
    assert text.startswith("failed to decompress snapshot: gzip: invalid header")
    assert "the body must be the archive itself" in text


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"x", b"g", b"L"])
def test_member_that_is_no_regular_file_is_refused(kind):
    block = header("state.bin", 0, kind, over=[(157, b"/etc/passwd")])
    raw = tar(("meta.json", META), closing=0) + block + tar(("SHA256SUMS", SUMS))
    assert refusal(gzip.compress(raw)) == (
        Code.REFUSED,
        UNREAD + 'failed reading snapshot: "state.bin" is not a regular file',
    )


@pytest.mark.parametrize("name", ["PaxHeaders/meta.json", "././@LongLink"])
def test_extended_header_is_refused_before_its_content_is_read(name):
    raw = header(name, 1 << 30, b"x") + bytes(1 << 20)
    code, text = refusal(gzip.compress(raw))
    assert (code, text) == (Code.REFUSED, UNREAD + f'unexpected file "{name}" in snapshot')


def test_prefix_of_a_name_counts():
    block = header("meta.json", 0, over=[(345, b"deep/down")])
    assert 'unexpected file "deep/down/meta.json"' in refusal(gzip.compress(block))[1]


@pytest.mark.parametrize(
    "field",
    [b"\x80\0\0\0\0\0\0\0\0\0\0\5", b"-0000000010\0", b"0000000009\0\0", b"0_1\0\0\0\0\0\0\0\0\0"],
)
def test_size_that_is_no_octal_number_is_refused(field):
    block = header("meta.json", 0, over=[(124, field)])
    assert refusal(gzip.compress(block + bytes(2048)))[1].endswith("invalid tar header")


def test_header_whose_checksum_does_not_match_is_refused():
    raw = bytearray(gzip.decompress(written()))
    raw[137] ^= 1  # a digit of the time, which nothing else covers
    assert refusal(gzip.compress(raw))[1].endswith("archive/tar: invalid tar header")


@pytest.mark.parametrize("name", ["meta.json", "SHA256SUMS"])
def test_small_members_stay_small(name):
    block = header(name, (1 << 20) + 1)
    assert "is larger than 1048576 bytes" in refusal(gzip.compress(block + bytes(4 << 20)))[1]


# What is accepted besides our own writing.


@pytest.mark.parametrize("closing", [0, 512, 1024, 1536, 10_240, 700])
def test_closing_zeros_may_be_missing_or_more(closing):
    if closing == 700:  # zeros that fill no block
        packed = gzip.compress(gzip.decompress(pack()) + bytes(188))
    else:
        packed = pack(closing=closing)
    assert records_in(packed) == RECORDS


def test_members_may_come_in_any_order():
    raw = tar(("SHA256SUMS", SUMS), ("state.bin", STATE), ("meta.json", META))
    assert records_in(gzip.compress(raw)) == RECORDS


def test_gzip_of_another_program_is_read():
    named = io.BytesIO()
    with gzip.GzipFile("snap.tar", "wb", 9, named, mtime=5) as out:
        out.write(gzip.decompress(written()))
    assert records_in(named.getvalue()) == RECORDS
    deflated = named.getvalue()[10 + len("snap.tar\0") :]
    full = b"\x1f\x8b\x08\x1f" + bytes(6) + b"\2\0xx" + b"name\0" + b"comment\0" + b"cc" + deflated
    assert records_in(full) == RECORDS
    for cut in range(len(full) - len(deflated)):
        assert refusal(full[:cut])[1].startswith("failed to decompress snapshot: ")


def test_archive_of_tarfile_itself_is_read():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.USTAR_FORMAT) as out:
        for name, body in GOOD.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            out.addfile(member, io.BytesIO(body))
    assert records_in(raw.getvalue()) == RECORDS


@pytest.mark.parametrize("version", [0, 1])
def test_meta_of_an_earlier_version_and_with_unknown_keys_is_read(version):
    meta = META.replace(b'"Version":1000', b'"Version":%d,"New":{"x":[1]}' % version)
    assert records_in(pack(meta=meta)) == RECORDS


def test_real_nomad_refuses_the_version_of_our_archives():
    # Its reader takes the versions 0 and 1, and takes what it cannot read for its own state.
    assert read(written()).meta.version > 1


def test_index_that_leaves_no_room_for_writes_is_refused():
    fits = META.replace(b'"Index":47', b'"Index":%d' % ARCHIVE_INDEX_MAX)
    assert records_in(pack(meta=fits)) == RECORDS
    above = META.replace(b'"Index":47', b'"Index":%d' % (ARCHIVE_INDEX_MAX + 1))
    code, text = refusal(pack(meta=above))
    assert code is Code.INVALID
    assert text.startswith(f"{RAFT}meta.json: the index 4503599627370496 is above 450359962737049")


def test_inspect_lets_each_record_be_looked_at():
    seen = []
    archive.inspect(io.BytesIO(written()), lambda meta: lambda record: seen.append((meta, record)))
    assert seen == [(read(written()).meta, record) for record in RECORDS]


# Damage in every place.


def test_archive_cut_at_every_byte_is_refused():
    packed = written()
    for cut in range(len(packed)):
        assert refusal(packed[:cut])[0] is Code.REFUSED


def outcome(packed):
    """Meta and records, or the code of the refusal."""
    try:
        found = read(packed)
        return found.meta, list(found.records())
    except Error as error:
        return error.code


def unnoticed_among(packs):
    """How much damage was not noticed; all of that must be harmless."""
    whole = outcome(written())
    outcomes = [outcome(packed) for packed in packs]
    assert all(each in (Code.REFUSED, Code.TOO_LARGE, whole) for each in outcomes)
    return outcomes.count(whole)


def flips(data, step):
    for bit in range(0, len(data) * 8, step):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def test_flipped_bit_anywhere_is_refused_or_harmless():
    packed = written()
    # Nobody reads the time and system in the gzip's header, and some codes that it never uses.
    assert 0 < unnoticed_among(flips(packed, 1)) < len(packed) * 8 // 50


def test_flipped_bit_in_the_tar_is_refused_or_harmless():
    raw = gzip.decompress(written())
    packs = [gzip.compress(damaged, 0) for damaged in flips(raw, 13)]
    assert unnoticed_among(packs) < len(packs)


# A sound envelope around a broken state: nothing dies, and the client learns what is wrong.


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


def test_unknown_types_are_named_and_refused():
    code, text = refusal(written(), known=["tokens"])
    assert code is Code.INVALID
    assert text.endswith("does not know these types of object in it: jobs")


def test_unknown_types_are_left_out_when_asked_for():
    packed = written()
    assert records_in(packed, known=["tokens"], skip_unknown=True) == [RECORDS[2]]
    assert read(packed, known=["tokens"], skip_unknown=True).skipped == {"jobs"}
    assert records_in(packed, known=["tokens", "jobs", "more"]) == RECORDS


def test_very_many_unknown_types_are_a_short_message():
    packed = written([("t" * 300 + str(n), "a", b"1") for n in range(500)])
    code, text = refusal(packed, known=[])
    assert code is Code.INVALID
    assert text.endswith("and 480 more")
    assert len(text) < 2_000


# Size.


def test_bomb_is_stopped_at_the_limit_and_takes_little_memory():
    deflate = zlib.compressobj(9, wbits=31)
    packed = deflate.compress(header("state.bin", 100 << 20))
    packed += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(100)) + deflate.flush()
    assert len(packed) < 200_000
    spool = io.BytesIO()
    tracemalloc.start()
    with pytest.raises(Error) as caught:
        archive.read(io.BytesIO(packed), spool, Limit(20 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code is Code.TOO_LARGE
    assert caught.value.message == PREFIX + "unpacked it is larger than the limit of 20971520 bytes"
    assert peak < 2 << 20
    assert spool.tell() == 0


def test_zeros_behind_the_tar_count_towards_the_limit():
    packed = gzip.compress(gzip.decompress(written()) + bytes(30 << 20), 9)
    tracemalloc.start()
    assert refusal(packed, limit=Limit(20 << 20))[0] is Code.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
    assert records_in(packed, limit=Limit(40 << 20)) == RECORDS


def test_limit_follows_the_upload_and_the_room_on_the_disk():
    mib = 1 << 20
    assert archive.limit_for(1_000, 10 << 30) == Limit(64 * mib)
    assert archive.limit_for(10 * mib, 10 << 30) == Limit(200 * mib)
    assert archive.limit_for(10 * mib, 100 * mib) == Limit(90 * mib)


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


# Inspection.


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
