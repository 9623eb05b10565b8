"""Bytes of unfinished requests, which all clients or each of them may hold only so many of.

A limit on connections does not bound them: an address may have thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Budget:
    """At most `limit` bytes for each holder. Without a name all are one holder."""

    def __init__(self, limit: int, refusal: str) -> None:
        """`refusal` is the message of the error when a holder wants more."""
        self._limit = limit
        self._refusal = refusal
        self._held: dict[str, int] = {}

    @property
    def held(self) -> int:
        """Bytes that all holders have together."""
        return sum(self._held.values())

    def take(self, size: int, holder: str = "") -> None:
        """Hold so many bytes more.

        Raises:
            Error: TOO_MANY, they are over the limit; no more are held.
        """
        held = self._held.get(holder, 0) + size
        if held > self._limit:
            raise Error(Code.TOO_MANY, self._refusal)
        self._held[holder] = held

    def release(self, size: int, holder: str = "") -> None:
        """Hold so many bytes less."""
        held = self._held.get(holder, 0) - size
        if held > 0:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)


class Share:
    """What one streamed request holds of a budget. Close it."""

    def __init__(self, budget: Budget, holder: str) -> None:
        self._budget = budget
        self._holder = holder
        self._size = 0

    async def counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same chunks, each taken from the budget first.

        Raises:
            Error: TOO_MANY, a chunk is over the limit.
        """
        async for chunk in chunks:
            self._budget.take(len(chunk), self._holder)
            self._size += len(chunk)
            yield chunk

    async def released(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same frames, made of the counted chunks. A whole frame is held no longer."""
        try:
            async for frame in frames:
                self.close()
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        self._budget.release(self._size, self._holder)
        self._size = 0
