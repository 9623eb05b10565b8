"""The snapshot archive: a gzip of a tar of `meta.json`, `state.bin` and `SHA256SUMS`.

The envelope and the texts of its refusals are Nomad's; the content of `state.bin` is bellcow's own.
`write`, `read` and `inspect` work on file objects and know no paths. What an object means, and who
may restore an archive, is decided by their callers.
"""

from bellcow.snapshot.archive.model import (
    MAGIC,
    META_VERSION,
    Header,
    Info,
    Limit,
    Meta,
    Origin,
    Peer,
    Peers,
    Record,
    Written,
    limit_for,
)
from bellcow.snapshot.archive.reader import Archive, inspect, origin_of, read
from bellcow.snapshot.archive.refusals import PREFIX, RAFT
from bellcow.snapshot.archive.writer import write

__all__ = [
    "MAGIC",
    "META_VERSION",
    "PREFIX",
    "RAFT",
    "Archive",
    "Header",
    "Info",
    "Limit",
    "Meta",
    "Origin",
    "Peer",
    "Peers",
    "Record",
    "Written",
    "inspect",
    "limit_for",
    "origin_of",
    "read",
    "write",
]
