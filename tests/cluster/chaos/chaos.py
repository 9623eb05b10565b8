"""One run: clients on every server, one fault after the other, then quiet and the verdict.

The seed decides what happens in which order. What real processes make of it differs from run to
run, so a failure is kept with its whole history rather than repeated.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from tests.cluster.chaos.checker import check, told
from tests.cluster.chaos.clients import UNREACHED, Client, Random, Recorder, is_known
from tests.cluster.chaos.cluster import Cluster
from tests.cluster.chaos.faults import FAULTS, NotNow, Stage
from tests.cluster.chaos.history import AUTOPILOT, NAMESPACES, SCHEDULER, write_history
from tests.cluster.chaos.measures import longest_gap, longest_gaps, staleness
from tests.cluster.chaos.votes import judge_votes, polled
from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.cluster.chaos.cluster import Server
    from tests.cluster.chaos.faults import Fault
    from tests.cluster.chaos.history import Operation

SERVERS = 3
CLIENTS_A_SERVER = 6
LONGER = 1.5  # a run on a busy machine may last so much longer to get its operations done
PAUSE_S = (0.4, 2.0)  # between two faults
QUIET_S = 45.0
VOTERS_MIN = SERVERS // 2 + 1  # by our own doing never fewer
STALE_BEYOND_MS = 50.0  # clients, servers and the kernel take turns on the same cores
FAIL_OVER_S = 10.0  # of a whole cluster, at worst
# After these a whole cluster has what it needs to go on at once.
BRIEF = {"kill_server", "kill_python", "kill_etcd", "stop_server", "cut_off", "transfer"}
# What a server may keep in its data directory besides the store of its part.
LASTING = {
    "server",
    "node-id",
    "lock",
    "cluster.json",
    "bootstrap.json",
    "raft",
    "serf.keyring",
    "peer-tls",
    "snapshots",
    "follow.db",
    "follow.db.mark",
    "follow.db-wal",  # of one that was killed before it got its vote
    "follow.db-shm",
    "store.db",
}


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: what, to whom, from when to when (seconds of the run)."""

    fault: str
    detail: str
    begin: float
    end: float
    whole: bool = False  # whether health had nothing to say when it began


class Report(msgspec.Struct, kw_only=True):
    """What a run was, and what it showed. Without `problems` all promises were kept."""

    seed: int
    seconds: float
    servers: int = SERVERS
    wires: str = ""
    operations: dict[str, int] = {}  # those that reached a server
    outcomes: dict[str, int] = {}
    faults: list[Happened] = []
    not_made: dict[str, str] = {}
    reasons: dict[str, int] = {}
    leaders: int = 0
    terms: int = 0
    write_gaps_s: list[float] = []  # one a fault
    longest_gap_s: float = 0.0
    stale_beyond_contact_ms: float = 0.0
    equal_after_s: float = -1.0
    check_s: float = 0.0
    problems: list[str] = []

    @property
    def total(self) -> int:
        return sum(self.operations.values())


def run(
    seconds: float,
    seed: int,
    folder: Path,
    only: Sequence[str] = (),
    *,
    long: bool = False,
    calm: bool = False,
    at_least: int = 0,
) -> Report:
    """Run for so long, and until clients have done `at_least` so much.

    Logs and history are left in `folder`. `only` names the faults to make, `long` allows all.
    `calm` waits before each until the cluster has recovered from the one before.
    """
    report = Report(seed=seed, seconds=seconds)
    chance = random.Random(seed)
    recorder = Recorder()
    folder.mkdir(parents=True, exist_ok=True)
    with Cluster(SERVERS, keep=folder) as cluster:
        report.wires = type(cluster.wires).__name__.lower()
        cluster.servers[1].have_own_clock()
        cluster.servers[2].mount_small_disk()
        cluster.start().wait_for_leader()
        _write_first(cluster, recorder)
        with polled(cluster.servers) as shown, _load(cluster, recorder, seed, report):
            stage = Stage(cluster, chance, _operators(recorder), recorder, [])
            faults = _chosen(only, long=long)
            _make_faults(stage, faults, seconds, at_least, report, calm=calm)
        report.problems += judge_votes(shown, VOTERS_MIN)
        _quiet(cluster, report)
        claims = cluster.claims()
    write_history(folder / "history.jsonl", recorder.operations)
    _judge(recorder.operations, report, claims)
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return report


def _write_first(cluster: Cluster, recorder: Recorder) -> None:
    """Give the settings a first value that the history knows."""
    client = Client("first", 9_999, cluster.servers[0], recorder)
    for key in (SCHEDULER, AUTOPILOT):
        deadline = time.monotonic() + 20
        while client.write(key).outcome != "ok" or client.read(key).outcome != "ok":
            if time.monotonic() > deadline:
                raise AssertionError(f"no first write\n{cluster.tail()}")
    client.close()


@contextlib.contextmanager
def _load(cluster: Cluster, recorder: Recorder, seed: int, report: Report) -> Iterator[None]:
    """Clients on every server, as long as this lasts."""
    threads = [
        Random(Client(f"{server.name}-{number}", place, server, recorder), seed * 1_000 + place)
        for place, (server, number) in enumerate(
            ((server, number) for server in cluster.servers for number in range(CLIENTS_A_SERVER)),
            1,
        )
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join()
            if thread.failure is not None:
                report.problems.append(f"client {thread.name} failed: {thread.failure!r}")


def _operators(recorder: Recorder):
    count = iter(range(10_000))

    def operator(server: Server) -> Client:
        number = next(count)
        return Client(f"operator-{number}", 1_000 + number, server, recorder)

    return operator


def _chosen(only: Sequence[str], *, long: bool) -> list[Fault]:
    return [fault for fault in FAULTS if (fault.name in only if only else long or not fault.long)]


def _make_faults(
    stage: Stage,
    faults: list[Fault],
    seconds: float,
    at_least: int,
    report: Report,
    *,
    calm: bool,
) -> None:
    began = stage.recorder.now()
    weights = [fault.weight for fault in faults]
    while (passed := stage.recorder.now() - began) < seconds * LONGER:
        reached = sum(each.reason != UNREACHED for each in list(stage.recorder.operations))
        if passed >= seconds and reached >= at_least:
            break
        (fault,) = stage.chance.choices(faults, weights)
        if calm:
            stage.cluster.wait_until_healthy(SERVERS, QUIET_S)
        whole = stage.cluster.is_whole()
        begin = stage.recorder.now()
        try:
            detail = fault.act(stage)
        except NotNow as reason:
            report.not_made[fault.name] = str(reason)
            continue
        except (OSError, AssertionError) as error:
            report.problems.append(f"{fault.name} at {begin:.1f} s: {error}")
            continue
        end = stage.recorder.now()
        happened = Happened(fault=fault.name, detail=detail, begin=begin, end=end, whole=whole)
        report.faults.append(happened)
        for server in stage.cluster.servers:
            _revive(server, report, stage.recorder.now())
        time.sleep(stage.chance.uniform(*PAUSE_S))


def _revive(server: Server, report: Report, now: float) -> None:
    """No server ends by itself; one that did is started again, and it is a problem."""
    if not server.runs:
        code = server.process.returncode if server.process else None
        report.problems.append(f"{server.name} had ended with {code} at {now:.1f} s")
        server.start()


def _quiet(cluster: Cluster, report: Report) -> None:
    """Without faults and load everything must be whole again, and equal everywhere."""
    began = time.monotonic()
    try:
        cluster.wait_until_healthy(SERVERS, QUIET_S)
        cluster.wait_until_equal(QUIET_S)
        report.equal_after_s = round(time.monotonic() - began, 2)
    except AssertionError as error:
        report.problems.append(f"not whole after {QUIET_S:g} s of quiet: {error}")
    try:
        cluster.stop()
    except AssertionError as error:
        report.problems.append(str(error))
    with contextlib.suppress(AssertionError):  # what is left then is told below
        until(lambda: not cluster.left_behind(), "the end of all processes")
    report.problems += [f"process left behind: {each}" for each in cluster.left_behind()]
    for server in cluster.servers:
        for path in server.data_dir.glob("server/*"):
            if path.name not in LASTING and not path.name.startswith("raft."):
                report.problems.append(f"file left behind: {server.name}/{path.name}")
        if slips := server.slips():
            text = f"{server.name} wrote {len(slips)} failures past its log: {slips[0]}"
            report.problems.append(text)
        for event in server.events():
            if "trace" in event:
                report.problems.append(f"{server.name} logged a slip: {event['trace'][-800:]}")


def _judge(history: list[Operation], report: Report, claims: list) -> None:
    asked = [each for each in history if each.reason != UNREACHED]
    report.operations = dict(Counter(f"{each.kind} {_noun(each.key)}" for each in asked))
    report.outcomes = dict(Counter(each.outcome for each in asked))
    reasons = Counter(each.reason for each in history if each.reason)
    report.reasons = dict(reasons.most_common(40))
    unknown = {each.reason for each in history if not is_known(each.status, each.reason)}
    report.problems += [f"a reason that is not on the list: {each}" for each in sorted(unknown)]
    report.leaders = len(claims)
    report.terms = len({claim.term for claim in claims})
    report.write_gaps_s = longest_gaps(history, report.faults)
    report.longest_gap_s = longest_gap(history)
    report.problems += late_fail_overs(report.faults, report.write_gaps_s)
    report.stale_beyond_contact_ms = staleness(history)
    if report.stale_beyond_contact_ms > STALE_BEYOND_MS:
        report.problems.append(
            f"a stale answer was {report.stale_beyond_contact_ms:g} ms older than it said"
        )
    began = time.monotonic()
    report.problems += [told(each, history) for each in check(history, claims)]
    report.check_s = round(time.monotonic() - began, 2)


def late_fail_overs(faults: Sequence[Happened], gaps: Sequence[float]) -> list[str]:
    """Which faults a whole cluster took too long to get over."""
    return [
        f"{fault.fault} ({fault.detail}) at {fault.begin:.1f} s: nobody could write for {gap:g} s"
        for fault, gap in zip(faults, gaps, strict=True)
        if fault.whole and fault.fault in BRIEF and gap > FAIL_OVER_S
    ]


def _noun(key: str) -> str:
    return "namespace" if key.startswith(f"{NAMESPACES}/") else key
