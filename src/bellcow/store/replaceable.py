"""A store that can be replaced while mirror, committer and leadership use it.

A server changes its store when its role in the cluster changes. Without a store every call raises
Unavailable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.store.protocol import Confirmation, Limits, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from bellcow.store.protocol import Change, Head, Key, Reload, Store


class ReplaceableStore:
    """Calls the store that was `put` last."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self.limits = store.limits if store else Limits()
        self.confirmation = store.confirmation if store else Confirmation.NONE

    async def put(self, store: Store | None) -> None:
        """Use `store` from now on. The previous one is closed, which ends its `changes`."""
        before, self._store = self._store, store
        if store is not None:
            self.limits = store.limits
            self.confirmation = store.confirmation
        if before is not None:
            await before.close()

    def _held(self) -> Store:
        if self._store is None:
            raise Unavailable("this server is in no cluster yet")
        return self._store

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        return await self._held().load()

    async def confirm(self) -> Head:
        return await self._held().confirm()

    async def confirm_in_term(self) -> tuple[Head, int]:
        return await self._held().confirm_in_term()

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        return await self._held().commit(known, head, changes)

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        store = self._held()
        async for change in store.changes(after):
            if self._store is not store:
                return
            yield change

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        await self._held().stage(known, gen, items)

    async def drop(self, known: Head, gen: int) -> bool:
        return await self._held().drop(known, gen)

    async def close(self) -> None:
        await self.put(None)
