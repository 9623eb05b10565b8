"""Reports of the license in the log, and their times."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.sim.clock import BEGIN_NS, VirtualClock

from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import rfc3339
from bellcow.license.keeper import Licenses
from bellcow.license.rules import issue
from bellcow.license.signature import new_key
from bellcow.license.watch import LicenseWatch
from bellcow.model.license import StoredLicense, TemporaryLicense
from bellcow.state.tables import Tables
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

pytestmark = pytest.mark.virtual_time

PRIVATE, PUBLIC = new_key()
DAY_S = 24 * 3600


class Site:
    """A cluster with an issuer, its licenses, and what the log said at which second."""

    def __init__(self, issuers=(PUBLIC,)) -> None:
        self.clock = VirtualClock()
        self.tables = Tables()
        self.index = 1
        self.put_row(
            "license_temporary", TemporaryLicense(start_time=rfc3339(BEGIN_NS), create_index=1)
        )
        self.licenses = Licenses(self.tables, self.clock, issuers)
        self.said: list[tuple[int, str, str]] = []

    def put_row(self, table, row) -> None:
        self.index += 1
        row = msgspec.structs.replace(row, modify_index=self.index)
        self.tables.apply(Head(index=self.index, term=1), {(table, "-"): to_msgpack(row)})

    def put(self, name: str, expires_s: int, ends_s: int) -> None:
        def at(seconds: int) -> str:
            return rfc3339(BEGIN_NS + seconds * NS_PER_S)

        claims = {
            "LicenseID": name,
            "StartTime": at(-1),
            "ExpirationTime": at(expires_s),
            "TerminationTime": at(ends_s),
        }
        self.put_row("license", StoredLicense(blob=issue(claims, PRIVATE)))

    def report(self, event, /, **fields) -> None:
        second = int(asyncio.get_running_loop().time())
        self.said.append((second, event, fields["license"]))

    async def watch(self, seconds: float) -> None:
        watch = LicenseWatch(self.licenses, self.clock, self.report)
        try:
            async with asyncio.timeout(seconds):
                await watch.run()
        except TimeoutError:
            pass


async def test_each_phase_is_reported_when_it_begins() -> None:
    site = Site()
    site.put("short", 6, 16)
    await site.watch(30)
    assert site.said == [
        (0, "license_expiring", "short"),
        (6, "license_expired", "short"),
        (16, "license_terminated", "short"),
    ]
    assert "Snapshot Agent" in site.licenses.warning()


async def test_every_phase_but_valid_is_reported_again_each_day() -> None:
    site = Site()
    site.put("month", 31 * DAY_S, 40 * DAY_S)
    await site.watch(3.5 * DAY_S)
    days = [(second // DAY_S, event) for second, event, _ in site.said]
    assert days == [(day, "license_expiring") for day in (1, 2, 3)]


async def test_new_license_is_reported_within_a_minute() -> None:
    site = Site()
    async with asyncio.TaskGroup() as group:
        group.create_task(site.watch(100))
        await asyncio.sleep(5)
        site.put("long", 999 * DAY_S, 1000 * DAY_S)
    assert site.said == [
        (0, "license_expiring", "temporary-license"),
        (60, "license_valid", "long"),
    ]
    assert site.licenses.warning() == ""


async def test_valid_license_is_not_reported() -> None:
    site = Site(issuers=())
    await site.watch(7 * DAY_S)
    assert site.said == []
    assert site.licenses.warning() == ""


async def test_health_has_no_license_warning_before_the_state_is_loaded() -> None:
    await asyncio.sleep(0)
    assert Licenses(Tables(), VirtualClock(), (PUBLIC,)).warning() == ""
