"""Archives put together from parts, so that a test can change any of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import msgspec
import pytest

from bellcow.errors import Error
from bellcow.snapshot import archive
from bellcow.snapshot.archive import PREFIX, Limit, Origin, Peer

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


def outcome(packed):
    """Meta and records, or the code of the refusal."""
    try:
        found = read(packed)
        return found.meta, list(found.records())
    except Error as error:
        return error.code


def flips(data, step):
    for bit in range(0, len(data) * 8, step):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)
