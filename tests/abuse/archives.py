"""Snapshot archives taken apart and put together in wrong ways; the envelope, not the state."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Members = dict[str, bytes]
NAMES = ("meta.json", "state.bin", "SHA256SUMS")


def unpack(archive: bytes) -> Members:
    """The three members of a good archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {name: tar.extractfile(name).read() for name in NAMES}


def seal(members: Members) -> Members:
    """The members with right hashes, whatever they hold."""
    listed = [name for name in members if name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in listed]
    return {**members, "SHA256SUMS": "".join(sums).encode()}


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """The header of one member, with any name and of any kind."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = size, kind, link, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + bytes(-len(content) % 512)


def tar(members: Members | Iterable[tuple[str, bytes]], extra: bytes = b"") -> bytes:
    """Members, more blocks, and the end."""
    pairs = members.items() if isinstance(members, dict) else members
    return b"".join(member(name, content) for name, content in pairs) + extra + bytes(1024)


def pack(members: Members | Iterable[tuple[str, bytes]], extra: bytes = b"") -> bytes:
    return gzip.compress(tar(members, extra), 1)


def changed(archive: bytes, **change: Callable[[bytes], bytes]) -> bytes:
    """The archive with `meta` or `state` changed and the hashes made right again."""
    members = unpack(archive)
    for name, make in change.items():
        full = {"meta": "meta.json", "state": "state.bin"}[name]
        members[full] = make(members[full])
    return pack(seal(members))
