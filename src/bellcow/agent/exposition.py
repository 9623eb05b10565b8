"""The text form of metrics for Prometheus, version 0.0.4.

prometheus-client cannot write it: it appends `_total` to each counter and knows no quantiles.
Nomad: counters have no suffix, and samples are summaries with three quantiles.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

QUANTILES = (0.5, 0.9, 0.99)
_NO_NAME = re.compile(r"[^a-zA-Z0-9_:]")


def series(kind: str, name: str, labels: Mapping[str, str], value: float) -> Iterator[str]:
    """The lines of a gauge or a counter."""
    shown = metric_name(name)
    yield from _head(kind, shown)
    yield f"{shown}{_labeled(labels)} {value:.17g}"


def summary(
    name: str, labels: Mapping[str, str], values: Sequence[float], total: float, count: int
) -> Iterator[str]:
    """The lines of a sample: quantiles of the latest `values`, sum and count since the start."""
    shown = metric_name(name)
    yield from _head("summary", shown)
    ordered = sorted(values)
    for quantile in QUANTILES:
        value = ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None
        text = "NaN" if value is None else f"{value:.17g}"
        yield f"{shown}{_labeled({**labels, 'quantile': f'{quantile:g}'})} {text}"
    yield f"{shown}_sum{_labeled(labels)} {total:.17g}"
    yield f"{shown}_count{_labeled(labels)} {count}"


def metric_name(name: str) -> str:
    return _NO_NAME.sub("_", name)


def _head(kind: str, shown: str) -> Iterator[str]:
    yield f"# HELP {shown} {shown}"
    yield f"# TYPE {shown} {kind}"


def _labeled(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
