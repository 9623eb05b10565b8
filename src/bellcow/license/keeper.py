"""The license in force on this cluster, and the command that replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.errors import Error, invalid
from bellcow.gocompat.time import parse_time
from bellcow.license import built_in, rules
from bellcow.model.license import StoredLicense
from bellcow.state.commands import put_setting
from bellcow.state.tables import CLUSTER, LICENSE, LICENSE_TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bellcow.clock import Clock
    from bellcow.model.license import License
    from bellcow.state.commands import Written
    from bellcow.state.draft import Draft
    from bellcow.state.tables import Tables


class Licenses:
    """Reads the stored license, checks new ones against the configured issuers."""

    def __init__(self, tables: Tables, clock: Clock, issuers: Sequence[str]) -> None:
        self._tables = tables
        self._clock = clock
        self._issuers = tuple(issuers)
        self._read: tuple[StoredLicense, License] | None = None

    def current(self) -> License:
        """The license in force.

        Without issuers the built-in community license; with issuers the stored one, and before any
        was stored the temporary license of the cluster's first six hours.
        """
        began = self._tables.one(LICENSE_TEMPORARY)
        start_ns = parse_time(began.start_time) if began else self._clock.wall_ns()
        if not self._issuers:
            return built_in.community(start_ns)
        stored = self._tables.one(LICENSE)
        if stored is None:
            return built_in.temporary(start_ns)
        # Compare the row itself: a restore may bring another license with the same index.
        if self._read is None or self._read[0] is not stored:
            self._read = (stored, self._verified(stored, start_ns))
        return self._read[1]

    def status(self) -> rules.Status:
        """The phase of the license in force."""
        return rules.status(self.current(), self._clock.wall_ns())

    def warning(self) -> str:
        """The warning for health; "" for a valid license, or before the state is loaded."""
        if self._tables.one(LICENSE_TEMPORARY) is None:
            return ""
        found = self.status()
        return "" if found.phase is rules.Phase.VALID else found.text

    def _verified(self, stored: StoredLicense, start_ns: int) -> License:
        """The stored license; the temporary one when its issuer is no longer configured."""
        try:
            return rules.read(stored.blob, self._issuers, self._cluster_id())
        except Error:
            return built_in.temporary(start_ns)

    def put(self, blob: str) -> Callable[[Draft], Written]:
        """The command that stores `blob`.

        Raises:
            invalid: the license is refused; the text has the reason.
        """
        if not self._issuers:
            raise invalid("no license issuer is configured on this cluster")
        rules.verify(blob, self._issuers, self._clock.wall_ns(), self._cluster_id())
        return put_setting(LICENSE, StoredLicense(blob=blob))

    def _cluster_id(self) -> str:
        cluster = self._tables.one(CLUSTER)
        return cluster.cluster_id if cluster else ""
