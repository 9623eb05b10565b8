"""Load from wrk, whose figures come back as JSON through its `done` hook, and what it cost.

wrk's own text is never read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec
import psutil

MARK = "JSON "

_DONE = """
done = function(summary, latency, requests)
  io.write(string.format(
    'JSON {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout))
end
"""


_NUMBERED = """
local number = 0
request = function()
  number = number + 1
  return wrk.format(nil, (wrk.path:gsub("NUMBER", number)), nil, (wrk.body:gsub("NUMBER", number)))
end
"""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The same request over and over; if `numbered`, each `NUMBER` in path and body is its own."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: str | None = None
    numbered: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk saw, and the CPU time that all processes of the server took meanwhile."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    failed: int
    cpu_s: float = 0.0

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a request."""
        return self.cpu_s * 1e6 / self.requests

    @property
    def rate(self) -> float:
        return self.requests * 1e6 / self.duration_us


class NoWrkError(Exception):
    """wrk is missing and was not installed."""


def ensure_wrk() -> None:
    """Have wrk: installed by apt-get when it is missing and this is root."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for words in ("update -qq", "install -y -qq wrk"):
            subprocess.run(["apt-get", *words.split()], stdout=subprocess.DEVNULL, check=False)
    if not shutil.which("wrk"):
        raise NoWrkError(
            "the benchmark needs wrk: `apt-get install wrk` as root, or `brew install wrk`"
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, so far."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system
    return total


def run(load: Load, pid: int, connections: int, seconds: float) -> Outcome:
    """Load the server of process `pid` once. An answer that is no success is an error here."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(_script(load))
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=10s"]
        before = cpu_seconds(pid)
        done = subprocess.run(
            [*words, "-s", str(script), load.url], capture_output=True, text=True, check=False
        )
        used = cpu_seconds(pid) - before
    line = next((each for each in done.stdout.splitlines() if each.startswith(MARK)), None)
    if line is None:
        raise RuntimeError(f"wrk gave no figures:\n{done.stdout}{done.stderr}")
    outcome = msgspec.json.decode(line[len(MARK) :], type=Outcome)
    if outcome.failed or not outcome.requests:
        raise RuntimeError(f"{outcome.failed} of {outcome.requests} requests failed: {load}")
    return msgspec.structs.replace(outcome, cpu_s=used)


def _script(load: Load) -> str:
    lines = [f'wrk.method = "{load.method}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in load.headers.items()]
    if load.body is not None:
        lines.append(f"wrk.body = [==[{load.body}]==]")
    return "\n".join(lines) + (_NUMBERED if load.numbered else "") + _DONE


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One of those that are compared in turns."""

    name: str
    load: Load
    pid: int


def compare(
    contenders: list[Contender], connections: int, *, turns: int, seconds: float
) -> dict[str, list[Outcome]]:
    """Load all in turn, and all again: short turns, so that what disturbs one disturbs all."""
    outcomes: dict[str, list[Outcome]] = {each.name: [] for each in contenders}
    for _ in range(turns):
        for each in contenders:
            outcomes[each.name].append(run(each.load, each.pid, connections, seconds))
    return outcomes


def least_cpu_us(outcomes: list[Outcome]) -> float:
    """The turn that was disturbed least: noise only ever adds to the cost."""
    return min(outcome.cpu_us for outcome in outcomes)


def best_rate(outcomes: list[Outcome]) -> float:
    return max(outcome.rate for outcome in outcomes)


def spelled(outcomes: list[Outcome]) -> str:
    """The least cost, and the most, which tells how quiet the machine was."""
    most = max(outcome.cpu_us for outcome in outcomes)
    return f"{least_cpu_us(outcomes):.1f} us (to {most:.1f})"
