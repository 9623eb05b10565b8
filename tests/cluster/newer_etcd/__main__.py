"""`python -m tests.cluster.newer_etcd`: the stores' conformance suite and a minute of chaos on
several releases of etcd. The table of results goes into docs/etcd-versions.md.

The release that is installed comes first; newer ones are built if there is Go, else left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
from tests.cluster.chaos.chaos import Report
from tests.cluster.newer_etcd.build import CannotBuild, built, find_go, newest

from bellcow.etcd.version import CannotRun, find_program, judge, read_version

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "etcd-versions.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bellcow" / "etcd"
NEWER = ((3, 5), (3, 6), (3, 7))
SUITE = (
    "tests/unit/store/test_conformance.py",
    "tests/unit/store/test_etcd.py",
    "tests/unit/cluster/engine/test_etcd_peers.py",
    "tests/unit/etcd",
)
HEAD = """# Releases of etcd

What bellcow was tried on, by `make etcd-versions`: the tests of its store, its votes and its supervision of etcd, each on a real one,
and then {seconds:g} seconds of [chaos](../tests/cluster/chaos) (seed {seed}) on three servers, whose clients check everything they are told.
Which releases are refused or warned of stands in [upgrading](operations/upgrade.md#etcd).

| etcd | tests passed | chaos: operations | faults | leaders | promises broken |
|---|---|---|---|---|---|
"""  # noqa: E501  a page's lines are longer than code's


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one release showed."""

    etcd: str
    passed: int
    failed: int
    chaos: Report

    @property
    def is_good(self) -> bool:
        return self.passed > 0 and not self.failed and not self.chaos.problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="newer_etcd")
    parser.add_argument("--seconds", type=float, default=60, help="of chaos, for each release")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where built releases are kept")
    options = parser.parse_args()
    programs = [*installed(), *newer(options.cache)]
    if not programs:
        return 1
    rows = [tried(program, options.seconds, options.seed) for program in programs]
    PAGE.write_text(page(rows, options.seconds, options.seed))
    print(PAGE.read_text())
    return 0 if all(row.is_good for row in rows) else 1


def installed() -> list[Path]:
    try:
        return [Path(find_program(""))]
    except CannotRun as error:
        print(f"none is installed: {error}")
        return []


def newer(cache: Path) -> list[Path]:
    """The newest release of each minor version, as far as it can be built here."""
    programs = []
    try:
        go = find_go()
    except CannotBuild as error:
        print(f"newer releases of etcd are left out: {error}")
        return []
    for minor in NEWER:
        try:
            programs.append(built(go, newest(go, minor), cache))
        except CannotBuild as error:
            print(f"etcd {minor[0]}.{minor[1]} is left out: {error}")
    return programs


def tried(program: Path, seconds: float, seed: int) -> Row:
    version = asyncio.run(read_version(str(program)))
    name = ".".join(map(str, version))
    folder = Path(tempfile.mkdtemp(prefix=f"etcd-{name}-"))
    print(f"== etcd {name} ({judge(version) or 'a good one'}), logs in {folder}", flush=True)
    began = time.monotonic()
    passed, failed = conformance(program, folder)
    print(f"{passed} tests passed, {failed} failed in {time.monotonic() - began:.0f} s", flush=True)
    chaos = chaotic(program, folder, seconds, seed)
    print(f"{chaos.total} operations, problems: {chaos.problems}", flush=True)
    return Row(etcd=name, passed=passed, failed=failed, chaos=chaos)


def conformance(program: Path, folder: Path) -> tuple[int, int]:
    """How many tests passed and failed with this etcd found in PATH."""
    result = folder / "tests.xml"
    words = ["-p", "no:cacheprovider", f"--junitxml={result}", *SUITE]
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    with (folder / "tests.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            check=False,
        )
    suite = next(ET.parse(result).getroot().iter("testsuite"))
    count, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return count - failed - skipped, failed


def chaotic(program: Path, folder: Path, seconds: float, seed: int) -> Report:
    """A run whose servers have this etcd named in their settings."""
    words = [f"--seconds={seconds:g}", f"--seed={seed}", f"--keep={folder}", "--no-report"]
    with (folder / "chaos.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "tests.cluster.chaos", *words],
            cwd=ROOT,
            env={**os.environ, "CHAOS_ETCD": str(program)},
            stdout=log,
            stderr=log,
            check=False,
        )
    return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)


def page(rows: list[Row], seconds: float, seed: int) -> str:
    return HEAD.format(seconds=seconds, seed=seed) + "".join(line(row) for row in rows)


def line(row: Row) -> str:
    cells = (
        row.etcd,
        f"{row.passed} of {row.passed + row.failed}",
        f"{row.chaos.total:,}",
        len(row.chaos.faults),
        row.chaos.leaders,
        len(row.chaos.problems) or "none",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    sys.exit(main())
