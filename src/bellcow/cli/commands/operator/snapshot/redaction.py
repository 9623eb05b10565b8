"""Archives without secrets, written from complete ones.

Objects with secrets are left out as a whole: a token without its secret would be useless. No files
are opened but those passed in.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

from bellcow.cli.shell.errors import CommandError
from bellcow.errors import Error
from bellcow.snapshot import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKENS = "acl_tokens"
# Tables that are left out, and the words for those with one object.
_DROPPED = {
    _TOKENS: "",
    "acl_bootstrap": "the mark of the ACL bootstrap",
    "license": "the license",
}


def redact(source: BinaryIO, out: BinaryIO) -> Counter[str]:
    """Write `source` to `out` without secrets. Returns how many objects were left out, by table.

    Raises:
        CommandError: the archive is bad.
    """
    left_out: Counter[str] = Counter()

    def kept(records: Iterator[archive.Record]) -> Iterator[archive.Record]:
        for record in records:
            if record[0] in _DROPPED:
                left_out[record[0]] += 1
            else:
                yield record

    with tempfile.TemporaryFile() as read_spool, tempfile.TemporaryFile() as write_spool:
        try:
            read = unpacked(source, read_spool)
            archive.write(out, archive.origin_of(read), kept(read.records()), write_spool)
        except Error as error:
            raise CommandError(f"Error reading snapshot: {reason(error)}") from error
    return left_out


def unpacked(source: BinaryIO, spool: BinaryIO) -> archive.Archive:
    """The archive of a file; its state may fill the free space of the temporary directory."""
    size = source.seek(0, 2)
    source.seek(0)
    free = os.statvfs(tempfile.gettempdir())
    return archive.read(source, spool, archive.limit_for(size, free.f_bavail * free.f_frsize))


def reason(error: Error) -> str:
    """Why an archive was refused, without the words about a restore."""
    return error.message.removeprefix(archive.PREFIX)


def told(left_out: Mapping[str, int]) -> str:
    """What was left out, in words: `3 ACL tokens, the license`."""
    tokens = left_out.get(_TOKENS, 0)
    parts = [f"{tokens} ACL token{'s' if tokens > 1 else ''}"] if tokens else []
    parts += [text for table, text in _DROPPED.items() if text and left_out.get(table)]
    return ", ".join(parts) or "nothing: there was no secret in it"
