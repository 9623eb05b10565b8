"""Three real servers under faults for three minutes: what clients saw must be explainable."""

from __future__ import annotations

import os
import shutil

import pytest
from tests.cluster.chaos.chaos import run
from tests.cluster.chaos.report import as_markdown

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("etcd"), reason="a cluster of three needs etcd"),
]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "180"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.lengthy
def test_promises_are_kept_under_faults(tmp_path):
    wanted = int(20_000 * SECONDS / 180)
    report = run(SECONDS, SEED, tmp_path, at_least=wanted)
    assert report.problems == [], f"{as_markdown(report)}\nlogs and history: {tmp_path}"
    assert len(report.faults) >= 30 * SECONDS / 180
    assert len({each.fault for each in report.faults}) >= 8
    assert report.total >= wanted
