"""Servers that find, lose and find each other again on a network in memory."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from tests.sim.net import Net

from bellcow.cluster.members.compose import compose
from bellcow.cluster.members.hearing import COPY
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster

pytestmark = pytest.mark.virtual_time

HOUR = 3600.0


async def three(net: Net):
    """Three servers that know each other; `a` leads."""
    hosts = [net.start("a"), net.start("b", join="a"), net.start("c", join="a")]
    for host in hosts:
        host.cluster = Cluster("x", 0)
    hosts[0].lead(1)
    await asyncio.sleep(3)
    return hosts


async def test_three_servers_find_each_other_through_one_address():
    everyone = {"id-a", "id-b", "id-c"}
    async with Net() as net:
        net.start("a")
        net.start("b", join="a")
        net.start("c", join="a")
        await asyncio.sleep(2.5)
        seen = {name: set(host.roster.alive()) for name, host in net.hosts.items()}
        assert seen == {"a": everyone, "b": everyone, "c": everyone}


async def test_three_servers_find_each_other_through_one_name_for_all_of_them():
    async with Net() as net:
        net.names["all"] = ("a", "b", "c")
        for name in "abc":
            net.start(name, join="all", bootstrap_expect=3)
        await asyncio.sleep(2.5)
        assert [len(host.roster.alive()) for host in net.hosts.values()] == [3, 3, 3]


async def test_a_name_is_looked_up_again_at_each_try():
    async with Net() as net:
        net.names["all"] = ()
        a, b = net.start("a"), net.start("b", join="all")
        await asyncio.sleep(5)
        before = b.saw("join_unanswered", reason="lookup all: no such host"), b.statuses()
        net.names["all"] = ("b", "a")
        await asyncio.sleep(3)
        assert before == ([0.0], {})
        assert a.statuses() == {"b": "alive"}
        assert b.statuses() == {"a": "alive"}


async def test_server_that_finds_only_itself_by_a_name_reports_the_other_addresses():
    async with Net() as net:
        net.names["all"] = ("a", "b", "c")
        a = net.start("a", join="all", bootstrap_expect=3)
        await asyncio.sleep(5)
        seen = [a.saw("join_unanswered", address=f"{name}:4648") for name in "abc"]
        assert seen == [[], [0.0], [0.0]]


async def test_servers_find_each_other_in_any_order_of_starts():
    async with Net() as net:
        net.start("b", join="a")
        net.start("c", join="a")
        await asyncio.sleep(20)
        before = net.hosts["b"].statuses()
        net.start("a", join="a")
        await asyncio.sleep(3)
        assert before == {}
        assert [len(host.roster.alive()) for host in net.hosts.values()] == [3, 3, 3]


async def test_two_separated_halves_find_each_other_when_the_network_heals():
    async with Net() as net:
        for one in "ab":
            for other in "cd":
                net.cut(one, other)
        for name in "abcd":
            net.start(name, join="a b c d")
        await asyncio.sleep(20)
        apart = len(net.hosts["a"].roster.alive())
        net.mend()
        await asyncio.sleep(13)
        assert apart == 2
        assert [len(host.roster.alive()) for host in net.hosts.values()] == [4, 4, 4, 4]


async def test_dead_server_has_failed_after_five_to_six_seconds():
    async with Net() as net:
        a, b, _ = await three(net)
        died = net.clock.monotonic()
        await net.stop("c")
        await asyncio.sleep(10)
        for host in (a, b):
            took = host.saw("member_failed", name="c.global")[0] - died
            assert 4.8 <= took <= 6  # counted from its last answer


async def test_dead_leader_has_failed_for_the_others_without_a_new_leader():
    async with Net() as net:
        _, b, c = await three(net)
        died = net.clock.monotonic()
        await net.stop("a")
        await asyncio.sleep(10)
        for host in (b, c):
            assert 4 <= host.saw("member_failed", name="a.global")[0] - died <= 7


async def test_restarted_server_is_alive_within_two_seconds():
    async with Net() as net:
        a, b, _ = await three(net)
        await net.stop("c")
        await asyncio.sleep(60)
        net.start("c", join="a")
        await asyncio.sleep(2)
        assert a.statuses() == {"b": "alive", "c": "alive"}
        assert b.statuses() == {"a": "alive", "c": "alive"}


async def test_restarted_server_with_its_clock_set_back_is_alive():
    async with Net() as net:
        a, _, _ = await three(net)
        await net.stop("c")
        await asyncio.sleep(60)
        net.clock.set_ahead(-HOUR)
        net.start("c", join="a")
        await asyncio.sleep(3)
        assert a.statuses()["c"] == "alive"


async def test_isolated_server_is_alive_again_when_the_network_heals():
    async with Net() as net:
        a, b, c = await three(net)
        net.cut("a", "c")
        net.cut("b", "c")
        await asyncio.sleep(30)
        during = a.statuses()["c"], b.statuses()["c"], c.statuses()
        net.mend()
        await asyncio.sleep(11)
        assert during == ("failed", "failed", {"a": "failed", "b": "failed"})
        assert a.statuses()["c"] == b.statuses()["c"] == "alive"
        assert c.statuses() == {"a": "alive", "b": "alive"}


async def test_cut_link_between_two_followers_fails_neither_of_them():
    async with Net() as net:
        a, b, c = await three(net)
        net.cut("b", "c")
        await asyncio.sleep(60)
        seen = [host.saw("member_failed") for host in (a, b, c)]
        assert seen == [[], [], []]
        assert b.statuses()["c"] == "alive"
        assert c.statuses()["b"] == "alive"


async def test_left_server_is_removed_after_a_day():
    async with Net() as net:
        a = net.start("a")
        net.start("c", join="a")
        await asyncio.sleep(3)
        await net.stop("c")
        await asyncio.sleep(7)
        a.exchange.force_leave("c.global")
        seen = a.statuses()
        await asyncio.sleep(23 * HOUR)
        kept = a.statuses()
        await asyncio.sleep(1.1 * HOUR)
        assert seen == {"c": "left"}
        assert kept == {"c": "left"}
        assert a.statuses() == {}


async def test_followers_copy_forced_leaves_and_removals_of_the_leader():
    async with Net() as net:
        a, b, _ = await three(net)
        await net.stop("c")
        await asyncio.sleep(7)
        a.exchange.force_leave("c.global")
        await asyncio.sleep(0.5)
        left = b.statuses()["c"]
        a.exchange.force_leave("c.global", prune=True)
        await asyncio.sleep(3)
        assert left == "left"
        assert a.statuses() == {"b": "alive"}
        assert b.statuses() == {"a": "alive"}


@pytest.mark.slow
async def test_failed_server_is_removed_after_three_days():
    async with Net() as net:
        a = net.start("a")
        net.start("b", join="a")
        await asyncio.sleep(3)
        await net.stop("b")
        await asyncio.sleep(71 * HOUR)
        kept = a.statuses()
        await asyncio.sleep(1.1 * HOUR)
        assert kept == {"b": "failed"}
        assert a.statuses() == {}


async def test_server_that_announces_its_leave_has_left_at_once():
    async with Net() as net:
        a, b, c = await three(net)
        await c.exchange.announce("leaving")
        leaving = a.statuses()["c"]
        await c.exchange.announce("left")
        await net.stop("c")
        await asyncio.sleep(0.3)
        assert leaving == "leaving"
        assert a.statuses()["c"] == "left"
        assert b.statuses()["c"] == "left"


async def test_leader_beats_removed_servers_too():
    async with Net() as net:
        a, b, c = await three(net)
        a.servers, a.removed = frozenset({"id-a", "id-b"}), frozenset({"id-c"})
        worst = 0.0
        for _ in range(100):
            await asyncio.sleep(0.0137)
            worst = max(worst, b.roster.since_leader_s(), c.roster.since_leader_s())
        assert worst < 0.11


async def test_contact_stays_under_the_threshold_while_a_leader_beats():
    async with Net() as net:
        a, b, _ = await three(net)
        worst = 0.0
        for _ in range(200):
            await asyncio.sleep(0.0137)
            ages = [age for age, _ in a.roster.contacts().values()]
            worst = max(worst, *ages, b.roster.since_leader_s())
            assert len(ages) == 2
        assert worst < 0.11


async def test_change_of_the_wall_clock_changes_no_status():
    async with Net() as net:
        hosts = await three(net)
        for jump_s in (HOUR, -3 * HOUR, 400 * 24 * HOUR):
            net.clock.set_ahead(jump_s)
            await asyncio.sleep(10)
        assert [host.saw("member_failed") for host in hosts] == [[], [], []]


async def test_two_regions_share_servers_and_leader_only():
    async with Net() as net:
        a, b, c = await three(net)
        d = net.start("d", "eu", join="a")
        d.cluster = Cluster("y", 0)
        d.lead(9)
        await asyncio.sleep(25)
        seen = {host.name: host.roster.regions() for host in (a, b, c, d)}
        leaders = a.roster.table.abroad, d.roster.table.abroad
        raft = d.roster.table.contacts["id-a"].raft
        assert seen == dict.fromkeys("abcd", ("eu", "global"))
        assert leaders == ({"eu": "id-d"}, {"global": "id-a"})
        assert raft.term == 0
        assert b.roster.table.leader.server_id == "id-a"
        assert "peer_refused" not in dict(a.events)


async def test_isolated_region_has_failed_after_half_a_minute():
    async with Net() as net:
        a = net.start("a")
        net.start("d", "eu", join="a")
        await asyncio.sleep(15)
        cut = net.clock.monotonic()
        net.cut("a", "d")
        await asyncio.sleep(60)
        took = a.saw("member_failed", name="d.eu")[0] - cut
        net.mend()
        await asyncio.sleep(12)
        assert 20 <= took <= 42
        assert a.statuses() == {"d": "alive"}


async def test_server_of_another_cluster_is_refused_and_reported_once():
    async with Net() as net:
        a, b, _ = await three(net)
        d = net.start("d", join="a")
        d.cluster = Cluster("y", 0)
        await asyncio.sleep(30)
        assert a.statuses() == {"b": "alive", "c": "alive"}
        assert b.statuses() == {"a": "alive", "c": "alive"}
        assert d.statuses() == {}
        assert len(d.saw("hello_failed")) == 1


async def test_server_with_a_copied_data_directory_is_refused_while_the_first_answers():
    async with Net() as net:
        a, _, _ = await three(net)
        net.start("c2", join="a", server_id="id-c")
        await asyncio.sleep(10)
        address = a.roster.table.known["id-c"].record.itself.serf[0]
        await net.stop("c")
        await asyncio.sleep(10)
        assert (address, a.roster.table.known["id-c"].record.itself.serf[0]) == ("c", "c2")
        assert a.statuses() == {"b": "alive", "c2": "alive"}


async def test_wiped_server_replaces_its_former_record():
    async with Net() as net:
        a, b, _ = await three(net)
        await net.stop("c")
        net.start("c", join="a", server_id="new")
        await asyncio.sleep(8)
        for host in (a, b):
            names = [member.name for member in host.roster.members()]
            assert host.roster.alive() == {"id-a", "id-b", "new"}
            assert sorted(names) == ["a.global", "b.global", "c.global"]


async def test_server_that_was_suspended_does_not_fail_the_others():
    async with Net() as net:
        a, _, _ = await three(net)
        a.clock.monotonic = lambda: asyncio.get_running_loop().time() + 60
        await asyncio.sleep(10)
        assert a.saw("member_failed") == []


@pytest.mark.parametrize("seed", range(3))
async def test_loss_of_one_message_in_twenty_fails_no_server(seed):
    async with Net(seed=seed, loss=0.05, delay_s=0.03) as net:
        hosts = await three(net)
        await asyncio.sleep(60)
        assert [host.saw("member_failed") for host in hosts] == [[], [], []]


@pytest.mark.parametrize("seed", range(3))
async def test_heavy_loss_ends_with_all_alive_once_it_is_over(seed):
    async with Net(seed=seed) as net:
        hosts = await three(net)
        net.loss = 0.6
        await asyncio.sleep(60)
        failed = [host.saw("member_failed") for host in hosts]
        net.loss = 0
        await asyncio.sleep(5)
        assert any(failed)
        assert [len(host.roster.alive()) for host in hosts] == [3, 3, 3]


@pytest.mark.parametrize("seed", range(8))
async def test_live_servers_agree_that_all_are_alive_after_any_faults(seed):
    """Starts, stops, cuts and changes of leader at random; then half a minute of quiet."""
    chance = random.Random(seed)
    names = ["a", "b", "c", "d"]

    def fault(net: Net, term: int) -> None:
        one, other = chance.sample(names, 2)
        what = chance.choice(["cut", "one way", "mend", "lead", "clock", "loss"])
        if what in {"cut", "one way"}:
            net.cut(one, other, one_way=what == "one way")
        elif what == "mend":
            net.mend()
        elif what == "lead" and one in net.hosts:
            for host in net.hosts.values():
                host.follow(term)
            net.hosts[one].lead(term)
        elif what == "clock":
            net.clock.set_ahead(chance.uniform(-HOUR, HOUR))
        else:
            net.loss = chance.choice([0.0, 0.3])

    def start(net: Net, name: str) -> None:
        net.start(name, join="a b c d").cluster = Cluster("x", 0)

    async with Net(seed=seed) as net:
        for name in names:
            start(net, name)
        for term in range(1, 60):
            await asyncio.sleep(chance.uniform(0, 4))
            name = chance.choice(names)
            if chance.random() < 0.3:
                if name in net.hosts:
                    await net.stop(name)
                else:
                    start(net, name)
            fault(net, term)
        net.mend()
        net.loss = 0.0
        await asyncio.sleep(30)
        seen = {host.name: host.roster.alive() for host in net.hosts.values()}
        living = {f"id-{name}" for name in seen}
        assert seen == dict.fromkeys(seen, living), f"seed {seed}"


async def test_one_hello_at_a_time_is_under_way_to_a_server():
    async with Net() as net:
        a, _, _ = await three(net)
        net.cut("a", "c")
        before = net.calls
        await asyncio.sleep(4)
        net.cut("a", "b")
        del a
        # b is called 40 times by the beat, c only when a call has run out; b and c call each
        # second.
        assert net.calls - before < 40 + 5 + 4 * 4


@pytest.mark.slow
async def test_simulated_day_of_two_regions_runs_within_ten_seconds():
    began = time.process_time()
    async with Net() as net:
        net.start("a")
        net.start("b", "eu", join="a")
        await asyncio.sleep(24 * HOUR)
        assert time.process_time() - began < 10
        assert net.calls > 2 * 8_600
        assert [host.statuses() for host in net.hosts.values()] == [{"b": "alive"}, {"a": "alive"}]


async def test_answer_that_raises_is_reported_and_the_others_are_called():
    async with Net() as net:
        a, b, c = await three(net)

        def trip(_hello):
            raise ValueError("odd")

        b.exchange.answer = trip
        await asyncio.sleep(10)
        assert len(a.saw("hello_failed", reason="ValueError: odd")) == 1
        assert a.statuses()["c"] == "alive"
        assert c.statuses() == {"a": "alive", "b": "alive"}


@pytest.mark.parametrize("words", ["a secret of that machine", f"its own: {COPY}"])
async def test_text_from_an_address_that_was_only_named_is_not_logged(words: str):
    async with Net() as net:
        a, _, _ = await three(net)
        named = net.start("x")

        def refuse(_hello):
            raise Error(Code.CONFLICT, words)

        named.exchange.answer = refuse
        a.exchange.answer(named_by(named))
        await asyncio.sleep(3)
        assert len(a.saw("hello_failed")) == 1
        assert words not in str(a.events)
        assert a.exchange.duplicate == ""


@pytest.mark.parametrize("join", ["a b", "all"], ids=["addresses", "one name"])
async def test_server_that_moved_is_no_duplicate_once_all_others_have_accepted_it(join: str):
    async with Net() as net:
        net.names["all"] = ("a", "b")
        for name in "abc":
            net.start(name, join="a b", server_id=name)
        await asyncio.sleep(3)
        net.cut("a", "c")  # so that `a` accepts the new address first
        await asyncio.sleep(2)
        await net.stop("c")
        moved = net.start("c", join=join, server_id="c", rpc=("c2", 4647), serf=("c2", 4648))
        await asyncio.sleep(0.5)
        assert COPY in moved.exchange.duplicate
        await asyncio.sleep(6)
        assert moved.statuses() == {"a": "alive", "b": "alive"}
        assert moved.exchange.duplicate == ""


def named_by(host):
    """A hello that names this server, as anybody may send one."""
    return compose(host.roster.table, host.look(), 0.0, abroad=False)


async def test_unanswered_addresses_are_reported_at_once_and_each_minute():
    async with Net() as net:
        a = net.start("a", join="b c", bootstrap_expect=3)
        await asyncio.sleep(130)
        times = [a.saw("join_unanswered", address=f"{name}:4648") for name in "bc"]
        assert times == [[0.0, pytest.approx(60, abs=2), pytest.approx(120, abs=3)]] * 2
        said = [fields for event, fields in a.events if event == "join_unanswered"]
        assert said[0]["reason"] == "connection refused"


async def test_waiting_server_reports_each_change_of_the_servers_seen():
    async with Net() as net:
        a = net.start("a", join="b c", bootstrap_expect=3)
        await asyncio.sleep(10)
        net.start("b", join="a", bootstrap_expect=3)
        await asyncio.sleep(65)
        net.start("d", "glbal", join="a", bootstrap_expect=3)
        before = a.saw("bootstrap_waiting", sees=1, expects=3), a.saw("bootstrap_waiting", sees=2)
        net.start("c", join="a", bootstrap_expect=3)
        await asyncio.sleep(130)
        assert before == ([2.0], [pytest.approx(11, abs=1), pytest.approx(71, abs=2)])
        assert len(a.saw("bootstrap_waiting")) == 3


async def test_unanswered_addresses_are_not_reported_while_a_leader_is_known():
    async with Net() as net:
        a = net.start("a", join="x", bootstrap_expect=1)
        b = net.start("b", join="a x y", bootstrap_expect=3)
        a.cluster = Cluster("x", 0)
        a.lead(1)
        await asyncio.sleep(1)
        b.cluster = a.cluster
        b.events.clear()
        await asyncio.sleep(300)
        quiet = [*a.events, *b.events]
        seen = {event for event, _ in quiet}
        assert not seen & {"join_unanswered", "bootstrap_waiting", "join_wrong_region"}


async def test_restarted_member_waits_a_moment_before_it_reports():
    async with Net() as net:
        a = net.start("a", join="b c")
        a.cluster = Cluster("x", 0)
        await asyncio.sleep(20)
        assert a.saw("join_unanswered", address="b:4648") == [5.0]
        assert a.saw("bootstrap_waiting") == []


async def test_misspelled_region_is_reported_with_both_regions():
    async with Net() as net:
        a, *_ = await three(net)
        d = net.start("d", "glbal", join="a b", bootstrap_expect=3)
        await asyncio.sleep(70)
        one = [d.saw("join_wrong_region", address=f"{n}:4648") for n in "ab"]
        said = dict(d.events)["join_wrong_region"]
        d.cluster = Cluster("y", 0)
        d.lead(1)
        d.events.clear()
        await asyncio.sleep(130)
        assert one == [[5.0, pytest.approx(70, abs=6)]] * 2  # it began at 3
        assert (said["theirs"], said["ours"]) == ("global", "glbal")
        assert d.events == []
        assert a.saw("join_wrong_region") == []
