"""Metrics: reads counters where they are kept, and keeps the last interval of ten seconds.

Sources are functions that read a number, so a request pays nothing for most metrics. The series are
a fixed set: no label comes from a client. Nomad: the interval and the JSON form are those of
armon/go-metrics' in-memory sink.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from bellcow.agent import exposition
from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bellcow.clock import Clock

INTERVAL_S = 10.0  # Source: Nomad, setupTelemetry: the interval of its in-memory sink
POLL_S = 1.0  # between two reads of a polled sample, such as an age
LATEST = 1_000  # values of a sample from which quantiles are computed


class Sample:
    """The values of one interval, as count, sum, sum of squares, minimum and maximum."""

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


class Series:
    """A sample: the present interval, the latest values, and totals since the start."""

    __slots__ = ("count", "interval", "latest", "total")

    def __init__(self) -> None:
        self.interval = Sample()
        self.latest: deque[float] = deque(maxlen=LATEST)
        self.total = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.interval.add(value)
        self.latest.append(value)
        self.total += value
        self.count += 1


class Metrics:
    """Named sources, and their values over the last finished interval.

    Until the first interval ends, the values so far are shown.
    """

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
        self._samples: dict[str, Series] = {}
        self._polled: dict[str, Callable[[], Iterable[float]]] = {}
        self._last: dict[str, float] = {}
        self._shown: dict[str, Any] | None = None

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self._gauges[name] = read

    def counter(self, name: str, read: Callable[[], float]) -> None:
        """Register a number that grows from 0. Its growth in an interval is shown."""
        self._counters[name] = read
        self._last[name] = 0.0

    def sample(self, name: str) -> Callable[[float], None]:
        """Register a sample. Returns the function that adds a value to it."""
        self._samples[name] = Series()
        return self._samples[name].add

    def poll(self, name: str, read: Callable[[], Iterable[float]]) -> None:
        """Register a sample whose values `read` returns; it is called once a second."""
        self.sample(name)
        self._polled[name] = read

    def filter(self, filters: Sequence[str], *, default: bool) -> None:
        """Set which names are shown: gauges at once, the rest from the next interval on."""
        self._filters = filters
        self._default = default

    def _wanted(self, name: str) -> bool:
        """Whether a name is shown. The longest matching prefix decides."""
        hits = [each for each in self._filters if name.startswith(each[1:])]
        return max(hits, key=len)[0] == "+" if hits else self._default

    async def run(self) -> None:
        """Read polled samples every second; close an interval every ten seconds."""
        while True:
            for _ in range(int(INTERVAL_S / POLL_S)):
                await asyncio.sleep(POLL_S)
                self.look()
            self.tick()

    def look(self) -> None:
        """Read the polled samples."""
        for name, read in self._polled.items():
            for value in read():
                self._samples[name].add(value)

    def tick(self) -> None:
        """Close the interval."""
        now = {name: read() for name, read in self._counters.items()}
        self._shown = self._interval(now)
        self._last = now
        for series in self._samples.values():
            series.interval = Sample()

    def summary(self) -> dict[str, Any]:
        """Counters and samples of the last finished interval; gauges as they are now."""
        shown = self._shown
        if shown is None:
            shown = self._interval({name: read() for name, read in self._counters.items()})
        return {**shown, "Gauges": self._gauge_rows()}

    def lines(self) -> Iterator[str]:
        """The summary, a line a series. Nomad: this is written to the log on SIGUSR1."""
        shown = self.summary()
        for row in shown["Gauges"]:
            yield f"[{shown['Timestamp']}][G] '{row['Name']}': {row['Value']:.3f}"
        for kind in ("Counters", "Samples"):
            for row in shown[kind]:
                yield (
                    f"[{shown['Timestamp']}][{kind[0]}] '{row['Name']}': Count: {row['Count']} "
                    f"Min: {row['Min']:.3f} Mean: {row['Mean']:.3f} Max: {row['Max']:.3f} "
                    f"Stddev: {row['Stddev']:.3f} Sum: {row['Sum']:.3f}"
                )

    def _gauge_rows(self) -> list[dict[str, Any]]:
        return [
            {"Labels": self._labels, "Name": name, "Value": float(read())}
            for name, read in sorted(self._gauges.items())
            if self._wanted(name)
        ]

    def _interval(self, now: dict[str, float]) -> dict[str, Any]:
        """The interval up to now: the growth of the counters to `now`, and the samples."""
        grown = {name: value - self._last[name] for name, value in now.items()}
        samples = {name: series.interval for name, series in self._samples.items()}
        seconds = self._clock.wall_ns() // NS_PER_S // int(INTERVAL_S) * int(INTERVAL_S)
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
        """The text form for Prometheus: these series, and those of the process."""
        lines: list[str] = []
        for kind, sources in (("gauge", self._gauges), ("counter", self._counters)):
            for name, read in sorted(sources.items()):
                if self._wanted(name):
                    lines += exposition.series(kind, name, self._labels, read())
        for name, sample in sorted(self._samples.items()):
            if self._wanted(name):
                lines += exposition.summary(
                    name, self._labels, sample.latest, sample.total, sample.count
                )
        return "".join(f"{line}\n" for line in lines).encode() + _of_the_process()


def _of_the_process() -> bytes:
    """CPU, memory and descriptors, under Prometheus' standard names."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _timestamp(seconds: int) -> str:
    """Go's default form of a time in UTC."""
    text = rfc3339(seconds * NS_PER_S)
    return f"{text[:10]} {text[11:19]} +0000 UTC"
