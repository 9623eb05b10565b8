"""`make demo` tells its story to the end, in under a minute, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.harness import until
from tests.support.etcd import needs_etcd

pytestmark = [pytest.mark.slow, needs_etcd]

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "scripts/demo.py")]
STORY = (
    "Three servers start",
    r"After [0-9.]+ s they are a cluster, and \w+ leads",
    r"list-peers\n.*\n(.* follower .*\n|.* leader .*\n){3}",
    "Scheduler configuration updated!",
    "State file written to backup.snap",
    r"Now \w+, who leads, is killed",
    r"After [0-9.]+ s \w+ leads. Nothing is lost",
    "Algorithm += spread",
    "Snapshot Restored",
    "Algorithm += spread",
    r"\w+ starts again",
    r"server members\n.*\n(.* alive .*\n){3}",
    "their files are gone",
)


def left_behind(folder: str) -> list[str]:
    """Processes that have to do with what the demonstration made."""
    lines = (
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    )
    return [line for line in lines if folder in line]


def test_demonstration_tells_its_story() -> None:
    began = time.monotonic()
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 60
    rest = done.stdout
    for part in STORY:
        found = re.search(part, rest)
        assert found, f"{part} is not in\n{rest}"
        rest = rest[found.end() :]
    folder = re.findall(r'"(/tmp/bellcow-demo-\w+)/', done.stdout)[0]
    assert not Path(folder).exists()
    until(lambda: not left_behind(folder), "the end of all processes")


def test_demonstration_that_is_interrupted_cleans_up() -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        text = ""
        while "they are a cluster" not in text:
            text += demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    folder = re.findall(r'"(/tmp/bellcow-demo-\w+)/', text)[0]
    assert not Path(folder).exists()
    until(lambda: not left_behind(folder), "the end of all processes")
