"""Each refusal of the envelope, word for word as recorded from the real server."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import pytest
from tests.support.archive_parts import (
    GOOD,
    META,
    NOTHING,
    RAFT,
    RECORDS,
    STATE,
    SUMS,
    UNREAD,
    UNSOUND,
    header,
    pack,
    records_in,
    refusal,
    sums,
    tar,
    written,
)

from bellcow.errors import Code
from bellcow.model.bounds import ARCHIVE_INDEX_MAX

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


def test_index_that_leaves_no_room_for_writes_is_refused():
    fits = META.replace(b'"Index":47', b'"Index":%d' % ARCHIVE_INDEX_MAX)
    assert records_in(pack(meta=fits)) == RECORDS
    above = META.replace(b'"Index":47', b'"Index":%d' % (ARCHIVE_INDEX_MAX + 1))
    code, text = refusal(pack(meta=above))
    assert code is Code.INVALID
    assert text.startswith(f"{RAFT}meta.json: the index 4503599627370496 is above 450359962737049")


def test_cut_in_half_inside_the_state_is_an_unexpected_end():
    state = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(3_000))
    packed = pack(state=state)
    text = UNREAD + "failed to read or write snapshot data: unexpected EOF"
    assert refusal(packed[: len(packed) // 2]) == (Code.REFUSED, text)


def test_refused_form_upload_says_to_send_the_archive_itself():
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


def test_archive_of_tarfile_itself_is_read():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.USTAR_FORMAT) as out:
        for name, body in GOOD.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            out.addfile(member, io.BytesIO(body))
    assert records_in(raw.getvalue()) == RECORDS
