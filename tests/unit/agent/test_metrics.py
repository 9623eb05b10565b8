"""Metrics: the growth in the last finished interval, and present values."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.metrics import INTERVAL_S, Metrics

pytestmark = pytest.mark.virtual_time


class Source:
    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


def made(**options) -> Metrics:
    return Metrics(FixedClock(), **({"host": "h", "prometheus": True} | options))


def rows(metrics: Metrics, kind: str) -> dict[str, dict]:
    return {row["Name"]: row for row in metrics.summary()[kind]}


def test_gauge_shows_its_present_value():
    metrics, source = made(), Source()
    metrics.gauge("g", source)
    source.value = 3
    assert metrics.summary()["Gauges"] == [{"Labels": {"host": "h"}, "Name": "g", "Value": 3.0}]


def test_counter_shows_its_growth_in_the_last_interval():
    metrics, source = made(), Source()
    metrics.counter("c", source)
    source.value = 100
    metrics.tick()
    source.value = 105
    assert rows(metrics, "Counters")["c"]["Count"] == 100
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


def test_new_filters_replace_the_old_ones():
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


async def test_interval_ends_every_ten_seconds():
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
    assert seen == [True, True, True]


def test_counters_and_samples_are_shown_before_the_first_interval_ends():
    metrics, source = made(), Source()
    metrics.counter("c", source)
    source.value = 3
    metrics.sample("s")(1.5)
    assert rows(metrics, "Counters")["c"]["Count"] == 3
    assert rows(metrics, "Samples")["s"]["Sum"] == 1.5


def test_counter_keeps_its_name_and_sample_has_quantiles_in_the_text_form():
    metrics, source = made(host='a "host"'), Source()
    source.value = 7
    metrics.counter("nomad.nomad.rpc.request", source)
    put = metrics.sample("nomad.raft.commitTime")
    for value in range(100):
        put(float(value))
    metrics.tick()
    put(1000.0)
    lines = metrics.prometheus().decode().splitlines()
    assert "# TYPE nomad_nomad_rpc_request counter" in lines
    assert 'nomad_nomad_rpc_request{host="a \\"host\\""} 7' in lines
    assert "# TYPE nomad_raft_commitTime summary" in lines
    assert 'nomad_raft_commitTime{host="a \\"host\\"",quantile="0.5"} 50' in lines
    assert 'nomad_raft_commitTime_count{host="a \\"host\\""} 101' in lines
    assert 'nomad_raft_commitTime_sum{host="a \\"host\\""} 5950' in lines
    assert not any(line.startswith("nomad") and "_total" in line for line in lines)


def test_prometheus_parses_the_text_form():
    from prometheus_client.parser import text_string_to_metric_families

    metrics = made()
    metrics.gauge("nomad.a", Source())
    metrics.counter("nomad.b", Source())
    metrics.sample("nomad.c")
    families = {
        one.name: one for one in text_string_to_metric_families(metrics.prometheus().decode())
    }
    assert {name: families[name].type for name in ("nomad_a", "nomad_b", "nomad_c")} == {
        "nomad_a": "gauge",
        "nomad_b": "counter",
        "nomad_c": "summary",
    }
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    assert families["process_open_fds"].samples[0].value > 0


async def test_polled_sample_is_read_once_a_second():
    metrics = made()
    metrics.poll("p", lambda: [1.0, 2.0])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(metrics.run())
        await asyncio.sleep(INTERVAL_S + 0.5)
        task.cancel()
    assert rows(metrics, "Samples")["p"]["Count"] == 20


def test_lines_for_the_log_name_each_series():
    metrics, source = made(), Source()
    metrics.gauge("g", source)
    metrics.counter("c", source)
    metrics.sample("s")(2.0)
    source.value = 4
    kinds = {line.partition("][")[2][0]: line for line in metrics.lines()}
    assert kinds["G"].endswith("[G] 'g': 4.000")
    assert "'c': Count: 4 " in kinds["C"]
    assert "'s': Count: 1 Min: 2.000" in kinds["S"]
