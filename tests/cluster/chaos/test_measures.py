"""The figures of a report."""

from __future__ import annotations

import msgspec
from tests.cluster.chaos.chaos import Happened, Report, late_fail_overs
from tests.cluster.chaos.history import SCHEDULER, Operation, Row
from tests.cluster.chaos.measures import longest_gap, longest_gaps, staleness
from tests.cluster.chaos.report import as_markdown


def wrote(index: int, back: float, outcome="ok") -> Operation:
    return Operation(
        client="c",
        server="one",
        kind="write",
        key=SCHEDULER,
        row=Row(str(index), 0),
        index=index,
        call=back - 0.01,
        back=back,
        outcome=outcome,
    )


def saw(index: int, call: float, contact_ms: int) -> Operation:
    return Operation(
        client="c",
        server="two",
        kind="read",
        key=SCHEDULER,
        stale=True,
        row=Row(str(index), index),
        index=index,
        contact_ms=contact_ms,
        call=call,
        back=call + 0.01,
    )


def test_gap_is_the_longest_time_without_an_acknowledged_write_from_the_fault_on():
    history = [wrote(n, back) for n, back in enumerate((1.0, 2.0, 2.1, 4.6, 4.7, 9.0), 1)]
    history.append(wrote(9, 3.0, "unknown"))
    fault = Happened(fault="kill", detail="", begin=2.05, end=3.5)
    other = Happened(fault="cut", detail="", begin=4.65, end=4.8)
    assert longest_gaps(history, [fault, other]) == [2.5, 4.3]


def test_gap_ends_for_a_fault_when_the_next_one_begins():
    history = [wrote(n, back) for n, back in enumerate((1.0, 2.0, 9.0), 1)]
    fault = Happened(fault="transfer", detail="", begin=1.5, end=1.6)
    other = Happened(fault="kill", detail="", begin=2.1, end=4.8)
    assert longest_gaps(history, [fault, other]) == [1.0, 7.0]
    assert longest_gap(history) == 7.0


def test_staleness_is_what_goes_beyond_the_contact_that_was_told():
    history = [wrote(5, 1.0), wrote(6, 2.0), wrote(7, 3.0)]
    assert staleness([*history, saw(6, 3.4, 500)]) == 0
    assert staleness([*history, saw(6, 3.4, 300)]) == 100
    assert staleness([*history, saw(5, 3.4, 300)]) == 1_100
    assert staleness([*history, saw(7, 9.0, 0)]) == 0


def test_report_tells_of_problems_or_of_none():
    report = Report(seed=3, seconds=60)
    assert "none: all promises were kept" in as_markdown(report)
    report.problems.append("s1 had ended with 1")
    report.faults.append(Happened(fault="kill_all", detail="all", begin=1, end=2))
    report.write_gaps_s = [2.5]
    text = as_markdown(report)
    assert "s1 had ended with 1" in text
    assert "| kill_all | 1 | 0 |  |  | 2.50 |" in text
    report.faults = [msgspec.structs.replace(report.faults[0], whole=True)]
    assert "| kill_all | 1 | 1 | 2.50 | 2.50 | 2.50 |" in as_markdown(report)


def test_slow_fail_over_of_a_whole_cluster_is_a_problem():
    def after(kind: str, gap: float, *, whole: bool) -> list[str]:
        happened = Happened(fault=kind, detail="s1", begin=7, end=9, whole=whole)
        return late_fail_overs([happened], [gap])

    assert after("kill_server", 10.5, whole=True)
    assert not after("kill_server", 9.5, whole=True)
    assert not after("kill_server", 10.5, whole=False)
    assert not after("hang_python", 11.5, whole=True)
