"""Metrics: plain counters read where they are kept, and the last finished interval of ten seconds.

Nothing is counted here on the way of a request; sources are functions that read a number. Series
are a fixed set: no label comes from a client.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from bellcow.wire import NS_PER_S, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bellcow.clock import Clock

INTERVAL_S = 10.0


class Sample:
    """Values seen in an interval, as count, sum and squares."""

    __slots__ = ("count", "high", "low", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.low = math.inf
        self.high = -math.inf

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value
        self.low = min(self.low, value)
        self.high = max(self.high, value)


class Metrics:
    """Named sources, and what they said over the last whole interval."""

    def __init__(
        self,
        clock: Clock,
        *,
        host: str,
        prometheus: bool,
        filters: Sequence[str] = (),
        filter_default: bool = True,
    ) -> None:
        self._clock = clock
        self._labels = {"host": host} if host else {}
        self.prometheus_enabled = prometheus
        self.filter(filters, default=filter_default)
        self._gauges: dict[str, Callable[[], float]] = {}
        self._counters: dict[str, Callable[[], float]] = {}
        self._samples: dict[str, Sample] = {}
        self._last: dict[str, float] = {}
        self._shown = self._summary({}, {}, clock.wall_ns())

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self._gauges[name] = read

    def counter(self, name: str, read: Callable[[], float]) -> None:
        """A number that only grows; what is shown is by how much it grew."""
        self._counters[name] = read
        self._last[name] = read()

    def sample(self, name: str) -> Callable[[float], None]:
        """Where to put values, such as milliseconds of a commit."""
        self._samples[name] = Sample()
        return lambda value: self._samples[name].add(value)  # noqa: PLW0108  samples are replaced

    def filter(self, filters: Sequence[str], *, default: bool) -> None:
        """Which names are shown: gauges at once, the rest from the next interval on."""
        self._filters = filters
        self._default = default

    def _wanted(self, name: str) -> bool:
        """The longest filter that the name begins with decides."""
        hits = [each for each in self._filters if name.startswith(each[1:])]
        return max(hits, key=len)[0] == "+" if hits else self._default

    async def run(self) -> None:
        """Close an interval every ten seconds."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.tick()

    def tick(self) -> None:
        grown = {}
        for name, read in self._counters.items():
            now = read()
            grown[name], self._last[name] = now - self._last[name], now
        samples = self._samples
        self._samples = {name: Sample() for name in samples}
        self._shown = self._summary(grown, samples, self._clock.wall_ns())

    def summary(self) -> dict[str, Any]:
        """Counters and samples of the last finished interval, gauges as they are."""
        return {**self._shown, "Gauges": self._gauge_rows()}

    def _gauge_rows(self) -> list[dict[str, Any]]:
        return [
            {"Labels": self._labels, "Name": name, "Value": float(read())}
            for name, read in sorted(self._gauges.items())
            if self._wanted(name)
        ]

    def _summary(
        self, grown: dict[str, float], samples: dict[str, Sample], now_ns: int
    ) -> dict[str, Any]:
        seconds = now_ns // NS_PER_S // int(INTERVAL_S) * int(INTERVAL_S)
        return {
            "Counters": [
                self._counter_row(name, n)
                for name, n in sorted(grown.items())
                if n and self._wanted(name)
            ],
            "Gauges": [],
            "Points": [],
            "Samples": [
                self._sample_row(name, s)
                for name, s in sorted(samples.items())
                if s.count and self._wanted(name)
            ],
            "Timestamp": _timestamp(seconds),
        }

    def _counter_row(self, name: str, count: float) -> dict[str, Any]:
        sample = Sample()
        sample.count, sample.total, sample.squares = int(count), count, count
        sample.low = sample.high = 1.0
        return self._sample_row(name, sample)

    def _sample_row(self, name: str, sample: Sample) -> dict[str, Any]:
        n = sample.count
        spread = sample.squares - sample.total * sample.total / n
        return {
            "Count": n,
            "Labels": self._labels,
            "Max": sample.high,
            "Mean": sample.total / n,
            "Min": sample.low,
            "Name": name,
            "Rate": sample.total / INTERVAL_S,
            "Stddev": math.sqrt(max(0.0, spread) / (n - 1)) if n > 1 else 0.0,
            "Sum": float(sample.total),
        }

    def prometheus(self) -> bytes:
        """The exposition format, made by prometheus-client."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: list[Any] = []
        labels, values = list(self._labels), list(self._labels.values())
        for kind, sources in (
            (GaugeMetricFamily, self._gauges),
            (CounterMetricFamily, self._counters),
        ):
            for name, read in sorted(sources.items()):
                if not self._wanted(name):
                    continue
                family = kind(name.replace(".", "_").replace("-", "_"), name, labels=labels)
                family.add_metric(values, read())
                families.append(family)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Fixed(families))
        return generate_latest(registry)


class _Fixed:
    """A collector of families that are made already."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _timestamp(seconds: int) -> str:
    """Go's default form of a time in UTC."""
    text = rfc3339(seconds * NS_PER_S)
    return f"{text[:10]} {text[11:19]} +0000 UTC"
