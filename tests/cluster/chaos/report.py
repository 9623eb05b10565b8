"""The report of a run as a page of Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.cluster.chaos.chaos import Report


def as_markdown(report: Report) -> str:
    kept = "none: all promises were kept" if not report.problems else str(len(report.problems))
    command = f"make chaos SECONDS={report.seconds:g} SEED={report.seed}"
    parts = [
        "# A run under faults",
        f"{report.servers} real servers, wires: {report.wires}, command: `{command}`.",
        _table(
            ("figure", "value"),
            {
                "operations": report.total,
                "faults": len(report.faults),
                "kinds of fault": len({each.fault for each in report.faults}),
                "changes of leader": report.leaders,
                "terms with a leader": report.terms,
                "problems": kept,
                "longest time without an acknowledged write": f"{report.longest_gap_s:g} s",
                "equal on all servers after": f"{report.equal_after_s:g} s of quiet",
                "staleness beyond what was said, at worst": (
                    f"{report.stale_beyond_contact_ms:g} ms"
                ),
                "time to judge the history": f"{report.check_s:g} s",
            }.items(),
        ),
        "## Faults, and the longest time without an acknowledged write",
        _gaps(report),
        "## Operations",
        _counts("operation", report.operations),
        _counts("outcome", report.outcomes),
        "## Reasons that clients were given",
        _counts("reason", report.reasons),
    ]
    if report.not_made:
        parts += ["## Faults that could not be made", _counts("fault", report.not_made)]
    if report.problems:
        parts += ["## Problems", *(f"```\n{each}\n```" for each in report.problems[:50])]
    return "\n\n".join(parts) + "\n"


def _gaps(report: Report) -> str:
    times = Counter(each.fault for each in report.faults)
    figures = list(zip(report.faults, report.write_gaps_s, strict=True))
    rows = [
        "| fault | times | to a whole cluster | median s of these | worst s of these | worst s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind, count in sorted(times.items()):
        every = [gap for fault, gap in figures if fault.fault == kind]
        alone = [gap for fault, gap in figures if fault.fault == kind and fault.whole]
        median, worst = _two(statistics.median(alone), max(alone)) if alone else ("", "")
        rows.append(f"| {kind} | {count} | {len(alone)} | {median} | {worst} | {max(every):.2f} |")
    return "\n".join(rows)


def _two(median: float, worst: float) -> tuple[str, str]:
    return f"{median:.2f}", f"{worst:.2f}"


def _counts(noun: str, counts: Mapping[str, object]) -> str:
    return _table((noun, ""), sorted(counts.items()))


def _table(head: tuple[str, str], rows: Iterable[tuple[str, object]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    lines += [f"| {name.replace('|', '/')} | {value} |" for name, value in rows]
    return "\n".join(lines)
