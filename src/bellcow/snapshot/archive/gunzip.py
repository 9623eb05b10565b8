"""A gzip reader with a limit, whose errors have the words of Go's `compress/gzip`.

Python's own reader accepts several members in a file, which Nomad refuses, and has no limit.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from bellcow.errors import Code, Error
from bellcow.snapshot.archive.model import PIECE_BYTES

if TYPE_CHECKING:
    from typing import BinaryIO


class BadStreamError(Exception):
    """The compressed stream is cut or damaged. The text is Go's; the caller adds the context."""


class Gunzip:
    """The unpacked bytes of a file that is one gzip member.

    Every call raises BadStreamError, and Error(TOO_LARGE) above the limit.
    """

    def __init__(self, source: BinaryIO, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        self._skip_header()

    def _skip_header(self) -> None:
        start = self._source.read(10)
        if not start:
            raise BadStreamError("EOF")
        if len(start) < 10:
            raise BadStreamError("unexpected EOF")
        if start[:3] != b"\x1f\x8b\x08":
            hint = ": the body must be the archive itself, not a form" if start[:2] == b"--" else ""
            raise BadStreamError(f"gzip: invalid header{hint}")
        flags = start[3]
        if flags & 4:
            self._exactly(int.from_bytes(self._exactly(2), "little"))
        for text in (8, 16):  # a name, a comment
            if flags & text:
                self._skip_text()
        if flags & 2:
            self._exactly(2)

    def _skip_text(self) -> None:
        for _ in range(4_096):
            if self._exactly(1) == b"\0":
                return
        raise BadStreamError("gzip: invalid header")

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise BadStreamError("unexpected EOF")
        return data

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the clean end of the compressed data."""
        parts = []
        while size > 0 and (piece := self._piece(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def _piece(self, size: int) -> bytes:
        if self._inflate.eof:  # more input would count as bytes after the end
            return b""
        piece = self._step(self._inflate.unconsumed_tail, size)
        while not piece and not self._inflate.eof:
            packed = self._source.read(PIECE_BYTES)
            if not packed:
                raise BadStreamError("unexpected EOF")
            piece = self._step(packed, size)
        self._size += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        self.check_limit(0)
        return piece

    def _step(self, packed: bytes, size: int) -> bytes:
        try:
            return self._inflate.decompress(packed, size)
        except zlib.error as error:
            raise BadStreamError("flate: corrupt input") from error

    def check_limit(self, more_bytes: int) -> None:
        """Check that `more_bytes` fit.

        Raises:
            Error: TOO_LARGE, they would break the limit.
        """
        if self._size + more_bytes > self._limit_bytes:
            raise Error(
                Code.TOO_LARGE, f"unpacked it is larger than the limit of {self._limit_bytes} bytes"
            )

    def finish(self) -> None:
        """Check checksum and size, and that nothing follows them.

        Raises:
            BadStreamError: the end is cut off or wrong, or something follows it.
        """
        rest = self._inflate.unused_data
        rest += self._source.read(max(18 - len(rest), 0))
        if len(rest) < 8:
            raise BadStreamError("unexpected EOF")
        expected = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        if rest[:8] != expected:
            raise BadStreamError("gzip: invalid checksum")
        junk = rest[8:18]
        if junk:
            # Nomad: it expects a second gzip member there, and reports what that lacks.
            raise BadStreamError("unexpected EOF" if len(junk) < 10 else "gzip: invalid header")
