"""Metrics: what grew in the last whole interval, and what stands now."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.clock import FixedClock
from tests.sim.loop import simulate

from bellcow.agent.metrics import INTERVAL_S, Metrics


class Source:
    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


def made(**options) -> Metrics:
    return Metrics(FixedClock(), **({"host": "h", "prometheus": True} | options))


def rows(metrics: Metrics, kind: str) -> dict[str, dict]:
    return {row["Name"]: row for row in metrics.summary()[kind]}


def test_gauge_is_shown_as_it_stands():
    metrics, source = made(), Source()
    metrics.gauge("g", source)
    source.value = 3
    assert metrics.summary()["Gauges"] == [{"Labels": {"host": "h"}, "Name": "g", "Value": 3.0}]


def test_counter_is_shown_by_what_it_grew_in_the_last_interval():
    metrics, source = made(), Source()
    source.value = 100
    metrics.counter("c", source)
    assert metrics.summary()["Counters"] == []
    source.value = 105
    assert metrics.summary()["Counters"] == []
    metrics.tick()
    assert rows(metrics, "Counters")["c"]["Count"] == 5
    assert rows(metrics, "Counters")["c"]["Sum"] == 5.0
    assert rows(metrics, "Counters")["c"]["Rate"] == 0.5
    metrics.tick()
    assert metrics.summary()["Counters"] == []


def test_sample_is_shown_with_its_spread():
    metrics = made()
    put = metrics.sample("s")
    for value in (1.0, 2.0, 3.0):
        put(value)
    assert metrics.summary()["Samples"] == []
    metrics.tick()
    row = rows(metrics, "Samples")["s"]
    assert (row["Count"], row["Min"], row["Max"], row["Mean"], row["Sum"]) == (3, 1, 3, 2, 6)
    assert row["Stddev"] == pytest.approx(1.0)
    put(9.0)
    metrics.tick()
    assert rows(metrics, "Samples")["s"]["Count"] == 1
    assert rows(metrics, "Samples")["s"]["Stddev"] == 0.0


def test_time_is_that_of_the_interval():
    clock = FixedClock(wall_ns=1_800_000_007 * 10**9)
    metrics = Metrics(clock, host="", prometheus=False)
    assert metrics.summary()["Timestamp"] == "2027-01-15 08:00:00 +0000 UTC"
    clock.advance(5)
    metrics.tick()
    assert metrics.summary()["Timestamp"] == "2027-01-15 08:00:10 +0000 UTC"


def test_host_is_a_label_unless_there_is_none():
    metrics = made(host="")
    metrics.gauge("g", Source())
    assert metrics.summary()["Gauges"][0]["Labels"] == {}


@pytest.mark.parametrize(
    ("filters", "default", "kept"),
    [
        ((), True, ["nomad.a.x", "nomad.b.x"]),
        ((), False, []),
        (("-nomad.a",), True, ["nomad.b.x"]),
        (("+nomad.a",), False, ["nomad.a.x"]),
        (("-nomad", "+nomad.a"), True, ["nomad.a.x"]),
        (("+nomad.a", "-nomad"), True, ["nomad.a.x"]),
    ],
)
def test_longest_filter_decides(filters, default, kept):
    metrics = made(filters=filters, filter_default=default)
    for name in ("nomad.a.x", "nomad.b.x"):
        metrics.gauge(name, Source())
        metrics.counter(f"{name}.c", Source())
        metrics.sample(f"{name}.s")(1.0)
    assert [row["Name"] for row in metrics.summary()["Gauges"]] == kept
    metrics.tick()
    assert list(rows(metrics, "Samples")) == [f"{name}.s" for name in kept]


def test_other_filters_show_what_was_left_out_and_leave_out_what_was_shown():
    metrics, source = made(filters=("-nomad.a",)), Source()
    for name in ("nomad.a", "nomad.b"):
        metrics.gauge(f"{name}.g", source)
        metrics.counter(f"{name}.c", source)
    put = metrics.sample("nomad.a.s")
    metrics.filter(("-nomad.b",), default=True)
    source.value = 5
    put(1.0)
    metrics.tick()
    assert list(rows(metrics, "Gauges")) == ["nomad.a.g"]
    assert rows(metrics, "Counters")["nomad.a.c"]["Count"] == 5
    assert list(rows(metrics, "Counters")) == ["nomad.a.c"]
    assert rows(metrics, "Samples")["nomad.a.s"]["Count"] == 1
    text = metrics.prometheus().decode()
    assert "nomad_a_g" in text
    assert "nomad_b" not in text


def test_names_are_sorted():
    metrics = made()
    for name in "cab":
        metrics.gauge(name, Source())
    assert [row["Name"] for row in metrics.summary()["Gauges"]] == ["a", "b", "c"]


def test_interval_ends_every_ten_seconds():
    async def story() -> list[bool]:
        metrics, source = made(), Source()
        metrics.counter("c", source)
        seen = []
        async with asyncio.TaskGroup() as group:
            task = group.create_task(metrics.run())
            for _ in range(3):
                source.value += 1
                await asyncio.sleep(INTERVAL_S)
                await asyncio.sleep(0)
                seen.append(bool(metrics.summary()["Counters"]))
            task.cancel()
        return seen

    assert simulate(story()) == [True, True, True]


def test_prometheus_shows_gauges_and_counters():
    metrics, source = made(), Source()
    source.value = 4
    metrics.gauge("nomad.raft.lastIndex", source)
    metrics.counter("nomad.raft.apply", source)
    text = metrics.prometheus().decode()
    assert 'nomad_raft_lastIndex{host="h"} 4.0' in text
    assert 'nomad_raft_apply_total{host="h"} 4.0' in text
    assert "# TYPE nomad_raft_lastIndex gauge" in text
