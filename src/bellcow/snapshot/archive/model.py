"""The parts of an archive as data: its metadata, header and trailer, and its description."""

from __future__ import annotations

import tarfile
from typing import Annotated, Final, TypeAlias

import msgspec

from bellcow import wire

Record: TypeAlias = tuple[str, str, bytes]
"""Table, id and value of one object; the value is its MessagePack."""
MAGIC: Final = (
    b"\xc1bellcow\n"  # no MessagePack begins with C1, so Nomad cannot take it for its own
)
FORMAT: Final = 1  # of state.bin
META_VERSION: Final = 1_000
"""The version in `meta.json`, as long as `state.bin` is in bellcow's own format.

Nomad: it reads the versions 0 and 1 and refuses any other with a message. It crashes when the state
in an archive of version 1 is not its own. 1,000 is far from the versions that it may read next.
Archives in Nomad's own format will be version 1 again, with bellcow's data under `Bellcow` in them.
"""
READ_VERSIONS: Final = frozenset({0, 1, META_VERSION})  # 1: earlier archives of bellcow
META_NAME, STATE_NAME, SUMS_NAME = "meta.json", "state.bin", "SHA256SUMS"
Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Peer(wire.Wire, frozen=True, kw_only=True):
    """One server of the configuration at the time of the save."""

    suffrage: int = 0  # 0 voter, 1 non-voter, 2 on its way to voter
    id: str = ""
    address: str = ""


class Peers(wire.Wire, frozen=True, kw_only=True):
    """The configuration at the time of the save."""

    servers: tuple[Peer, ...] = ()


class Meta(wire.Wire, frozen=True, kw_only=True):
    """`meta.json`, in the order in which it is written."""

    version: Index = META_VERSION
    id: str = ""  # TERM-INDEX-UNIXMILLISECONDS
    index: Index = 0
    term: Index = 0
    peers: str = ""  # Nomad: an old form of the list of voters, which its reader still expects
    configuration: Peers = Peers()
    configuration_index: Index = 0
    size: Index = 0  # of state.bin


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when an archive was saved."""

    index: int
    term: int
    wall_ns: int
    cluster_id: str = ""
    region: str = ""
    servers: tuple[Peer, ...] = ()
    configuration_index: int = 0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of state.bin. An archive of Nomad has none."""

    format: int
    version: str = ""  # of the bellcow that wrote it
    cluster_id: str = ""
    region: str = ""
    index: Index = 0
    wall_ns: int = 0
    counts: dict[str, int] = {}


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame of state.bin. Without it the state was cut off."""

    counts: dict[str, int]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """Size and digest of an archive that was written, as a file."""

    size: int
    sha256: bytes


class Limit(msgspec.Struct, frozen=True):
    """How much one archive may unpack to."""

    unpacked_bytes: int


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds, for people to read."""

    id: str
    size: int
    index: int
    term: int
    version: int
    created_ns: int  # 0 when the id does not say
    writer: str  # bellcow's version; "" for an archive of Nomad, whose state is not read
    cluster_id: str
    region: str
    stats: tuple[tuple[str, int, int], ...]  # table, objects, bytes; the largest first
    largest: tuple[tuple[str, str, int], ...]  # table, id, bytes


def limit_for(upload_bytes: int, free_bytes: int) -> Limit:
    """The limit for an upload onto a disk with `free_bytes` of free space.

    20 times the upload, at least 64 MiB, at most nine tenths of the free space.
    """
    return Limit(min(max(20 * upload_bytes, 64 << 20), free_bytes * 9 // 10))


BLOCK_BYTES: Final = tarfile.BLOCKSIZE
PIECE_BYTES: Final = 256 << 10  # bytes of a file in memory at a time
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
