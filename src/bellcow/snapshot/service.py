"""Snapshots of one server: at most two saves and one restore at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.errors import Code, Error
from bellcow.snapshot import save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.snapshot.restore import Restored, Restorer
    from bellcow.state.tables import Tables

SAVES_AT_ONCE = 2


class Snapshots:
    """What the routes call. `last_index` and `last_term` are those of the last archive saved."""

    def __init__(
        self,
        *,
        tables: Tables,
        clock: Clock,
        folder: Path | None,
        restorer: Restorer,
        on_restored: Callable[[], None],
        report: Report,
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._folder = folder
        self._restorer = restorer
        self._on_restored = on_restored
        self._report = report
        self._slots = asyncio.Semaphore(SAVES_AT_ONCE)
        self.last_index = 0
        self.last_term = 0

    async def save(self) -> save.Saved:
        """An archive of the state, taken when a slot is free.

        Raises:
            Error: UNAVAILABLE, no file can be written.
        """
        await self._slots.acquire()
        try:
            moment = save.take(self._tables, self._clock)
            file, written = await asyncio.to_thread(save.write_with_fallback, moment, self._folder)
        except OSError as error:
            self._slots.release()
            raise Error(Code.UNAVAILABLE, self._why_not(error)) from error
        except BaseException:
            self._slots.release()
            raise
        self.last_index, self.last_term = moment.origin.index, moment.origin.term
        self._report("snapshot_saved", index=moment.origin.index, bytes=written.size)
        return save.Saved(file, written, self._slots.release)

    def _why_not(self, error: OSError) -> str:
        """Why nothing was saved, and on which disk of the server.

        Folders are named by their purpose: clients must not see paths of the server.
        """
        reason = error.strerror or str(error)
        places = ["its data directory"] if self._folder else []
        if error.errno in save.FULL or not places:
            places.append("its folder for temporary files")
        return f"no snapshot was made: {reason}, on the server in {' and in '.join(places)}"

    async def restore(self, body: AsyncIterator[bytes], content_type: str) -> Restored:
        """Replace the whole state, then call `on_restored`.

        Exceptions of `Restorer.restore` pass through.
        """
        restored = await self._restorer.restore(body, content_type)
        self._on_restored()
        return restored

    async def housekeeping(self) -> None:
        """On the leader: drop the generations that restores leave behind."""
        await self._restorer.run()
