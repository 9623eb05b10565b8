"""Autopilot's loop: when a round comes, what it remembers, what it reports."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.sim.camp import Camp
from tests.sim.clock import VirtualClock
from tests.sim.herd import Herd
from tests.sim.world import World, configuration

from bellcow.autopilot.loop import ROUND_S, Autopilot
from bellcow.autopilot.rules import Contact, Silence
from bellcow.errors import Error
from bellcow.gocompat.duration import NS_PER_S, Duration
from bellcow.gocompat.time import NEVER, rfc3339_seconds
from bellcow.model.agent import Member
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.state.commands import put_setting
from bellcow.state.tables import AUTOPILOT, Tables, with_indexes
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

pytestmark = pytest.mark.virtual_time


class Contacts:
    """Two servers; `b` may fall silent."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.silent = False
        self.failed: dict[str, Silence] = {}
        self.tags = {"build": "1.0.18"}

    def members_by_id(self):
        return {
            name: Member(
                addr="127.0.0.1", name=f"{name}.global", port=1, status="alive", tags=self.tags
            )
            for name in "ab"
        }

    def silences(self):
        return self.failed

    async def contacts(self, server_ids):
        await asyncio.sleep(0)
        head = self._tables.head
        answer = Contact(last_contact=Duration(0), last_term=head.term, last_index=head.index)
        return {each: answer for each in server_ids if each == "a" or not self.silent}


class Loop:
    def __init__(self) -> None:
        self.tables = Tables()
        row = to_msgpack(with_indexes(configuration(("a", "b")), 2, 2))
        self.tables.apply(Head(index=7, term=1), {("raft_configuration", "-"): row})
        self.contacts = Contacts(self.tables)
        self.events: list[str] = []
        self.autopilot = Autopilot(
            self.tables,
            self.contacts,
            VirtualClock(),
            "a",
            lambda name, **_: self.events.append(name),
        )


def test_there_is_no_health_before_the_first_round():
    assert Loop().autopilot.health == ClusterHealth()
    assert ClusterHealth().servers is None
    assert not ClusterHealth().healthy


async def test_round_finds_the_health_of_all_servers():
    loop = Loop()
    await loop.autopilot.round()
    health = loop.autopilot.health
    assert health.healthy
    assert [server.id for server in health.servers] == ["a", "b"]
    assert health.leader == "a"


async def test_without_a_leader_all_are_named_and_the_failed_with_since_when():
    loop = Loop()
    loop.contacts.silent = True
    loop.contacts.failed = {"b": Silence(failed_s=7, silent_s=12)}
    met = {"a": loop.contacts.members_by_id()["a"]}
    loop.contacts.members_by_id = lambda: met
    health = await loop.autopilot.last_known("")
    failed_ns = VirtualClock().wall_ns() - 7 * NS_PER_S
    names = [(each.name, each.leader, each.healthy) for each in health.servers]
    assert names == [("a.global", False, True), ("b.global", False, False)]
    assert [each.stable_since for each in health.servers] == [NEVER, rfc3339_seconds(failed_ns)]


async def test_change_is_reported_once_for_the_server_and_once_for_the_cluster():
    loop = Loop()
    for silent in (False, True, True, False):
        loop.contacts.silent = silent
        await loop.autopilot.round()
    assert loop.events == ["health_changed", "cluster_health_changed"] * 2


async def test_recovery_is_reported_only_after_its_failure():
    loop = Loop()
    for silent in (True, False):
        loop.contacts.silent = silent
        await loop.autopilot.round()
    assert loop.events == []


async def test_servers_are_healthy_in_the_first_moment_of_a_new_leadership(tmp_path):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        for name in camp.names:
            camp.start(name)
        await asyncio.sleep(8)
        leader = await camp.led()
        seen = set()
        for _ in range(3):
            heir = next(each for each in camp.servers.values() if each is not leader)
            await leader.membership.transfer(heir.name)
            leader = await camp.led()
            assert leader is heir
            end = camp.clock.monotonic() + 3
            while camp.clock.monotonic() < end:
                await asyncio.sleep(0.05)
                health = leader.autopilot.health
                seen.add((health.healthy, len(health.servers or ())))
        told = [e for each in camp.servers.values() for e, _ in each.events]
        assert seen == {(True, 3)}
        assert "health_changed" not in told
        assert "cluster_health_changed" not in told


async def test_server_that_was_removed_is_not_shown_any_more(tmp_path):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        for name in camp.names:
            camp.start(name)
        await asyncio.sleep(8)
        leader = await camp.led()
        other = next(each for each in camp.servers.values() if each is not leader)
        await leader.membership.remove(other.name)
        await asyncio.sleep(0.01)
        shown = [server.id for server in leader.autopilot.health.servers or ()]
        assert len(shown) == 2
        assert other.name not in shown


async def test_member_without_a_build_is_shown_without_a_version():
    loop = Loop()
    loop.contacts.tags = {}
    await loop.autopilot.round()
    assert loop.autopilot.health.servers[0].version == ""


async def test_rounds_are_two_seconds_apart_and_health_ends_with_leadership():
    loop = Loop()
    seen = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.autopilot.run())
        for _ in range(3):
            await asyncio.sleep(ROUND_S - 0.1 if not seen else ROUND_S)
            seen.append(len(loop.events))
            loop.contacts.silent = not loop.contacts.silent
        task.cancel()
    assert seen == [0, 2, 4]
    assert loop.autopilot.health == ClusterHealth()


async def test_new_leadership_remembers_nothing():
    loop = Loop()
    await loop.autopilot.round()
    await asyncio.sleep(30)
    loop.autopilot.restart()
    assert loop.autopilot.health.servers is None
    await loop.autopilot.round()
    assert (loop.autopilot.health.servers[0].stable_since, loop.events) == (
        "2027-01-15T08:00:30Z",
        [],
    )


async def test_health_is_known_a_moment_after_a_restore():
    loop = Loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.autopilot.run())
        await asyncio.sleep(5)  # in the middle of the pause between two rounds
        loop.autopilot.restart()
        at_once = loop.autopilot.health.servers
        await asyncio.sleep(0.001)
        soon = loop.autopilot.health.healthy
        task.cancel()
    assert (at_once, soon) == (None, True)


async def test_configuration_counts_from_the_next_round_on():
    async with World("a", "b") as world:
        leader = await world.begin()
        world.contact_ms["b"] = 300
        await asyncio.sleep(ROUND_S + 0.1)
        before = leader.autopilot.health.healthy
        wide = AutopilotConfiguration(last_contact_threshold=Duration.parse("1s"))
        await leader.write(put_setting(AUTOPILOT, wide))
        await asyncio.sleep(ROUND_S)
        assert (before, leader.autopilot.health.healthy) == (False, True)


async def test_day_of_rounds_is_simulated_in_no_time():
    loop = Loop()
    rounds = 0
    real = loop.contacts.contacts

    async def counted(server_ids):
        nonlocal rounds
        rounds += 1
        return await real(server_ids)

    loop.contacts.contacts = counted
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.autopilot.run())
        await asyncio.sleep(24 * 3_600)
        task.cancel()
    assert (rounds, msgspec.structs.asdict(loop.tables.head)["index"]) == (43_200, 7)


class Cleaner(Loop):
    """A leader of seven servers. A removal takes time; the test acts meanwhile."""

    def __init__(self, failed: str) -> None:
        super().__init__()
        self.names = tuple("abcdefg")
        self.statuses = dict.fromkeys(self.names, "alive") | dict.fromkeys(failed, "failed")
        self.contacts.members_by_id = self._members
        self.meanwhile = lambda: None
        self.removed: list[str] = []
        self._show()
        self.autopilot = Autopilot(
            self.tables,
            self.contacts,
            VirtualClock(),
            "a",
            lambda name, **_: self.events.append(name),
            self,
        )

    def _members(self):
        return {
            name: Member(addr="127.0.0.1", name=f"{name}.global", port=1, status=status, tags={})
            for name, status in self.statuses.items()
        }

    def _show(self) -> None:
        index = self.tables.index + 1
        row = to_msgpack(with_indexes(configuration(self.names), 2, index))
        self.tables.apply(Head(index=index, term=1), {("raft_configuration", "-"): row})

    def why_no_votes(self) -> str:
        return ""

    async def remove_dead(self, server_id: str, silent_since_ns: int) -> None:
        del silent_since_ns
        await asyncio.sleep(3)
        self.removed.append(server_id)
        self.names = tuple(name for name in self.names if name != server_id)
        self._show()
        self.meanwhile()

    async def remove_left(self, server_id: str) -> None:
        await self.remove_dead(server_id, 0)

    def forget(self, server_id: str) -> None:
        self.statuses[server_id] = "left"


async def test_server_that_returns_during_other_removals_stays():
    loop = Cleaner("efg")
    loop.meanwhile = lambda: loop.statuses.update(f="alive")
    await loop.autopilot.clean_up()
    assert loop.removed == ["e", "g"]


async def test_majority_does_not_go_bit_by_bit_within_the_stabilization_time():
    loop = Cleaner("efg")
    await loop.autopilot.clean_up()
    loop.statuses["d"] = "failed"
    await loop.autopilot.clean_up()  # as a join asks for it
    soon, events = list(loop.removed), list(loop.events)
    await asyncio.sleep(11)
    await loop.autopilot.clean_up()
    assert soon == ["e", "f", "g"]
    assert events == ["dead_server_not_removed"]
    assert loop.removed == ["e", "f", "g", "d"]


async def test_concurrent_clean_ups_remove_each_server_once():
    loop = Cleaner("efg")
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(loop.autopilot.clean_up())
    assert loop.removed == ["e", "f", "g"]


async def test_clean_up_spares_a_server_that_is_alive_again():
    async with Herd("a", "b", "c") as herd:
        await herd.begin()
        with pytest.raises(Error, match="alive again"):
            await herd.servers["a"].membership.remove_dead("c", 0)
