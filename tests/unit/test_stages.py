"""The script behind `make check` and `make test`."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "stages.sh"
TOOLS = ("ruff", "mypy", "lint-imports", "pytest")


def stages(folder: Path, which: str, red: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Exit status and summary of a run with tools that only succeed or fail."""
    for tool in TOOLS:
        (folder / tool).write_text(f"#!/bin/sh\nexit {int(tool in red)}\n")
        (folder / tool).chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT), which, str(folder), "1", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.rpartition("\n\n")[2].splitlines()


def test_green_run_ends_with_one_line_a_stage(tmp_path: Path) -> None:
    status, summary = stages(tmp_path, "test")
    assert status == 0
    assert len(summary) == 7
    assert all(line.startswith("ok ") for line in summary)


def test_later_stages_run_after_one_that_failed(tmp_path: Path) -> None:
    status, summary = stages(tmp_path, "test", red=("mypy",))
    assert status == 1
    assert [line.split()[0] for line in summary] == ["ok", "ok", "FAILED"] + ["ok"] * 4


def test_check_leaves_out_the_slow_stages(tmp_path: Path) -> None:
    status, summary = stages(tmp_path, "check", red=("pytest",))
    assert status == 1
    assert [line.split()[0] for line in summary] == ["ok"] * 4 + ["FAILED"]
