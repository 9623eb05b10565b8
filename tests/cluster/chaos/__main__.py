"""`python -m tests.cluster.chaos --seconds=1800 --seed=1`: a run as long as asked, and its report.

The report goes into bench/results; logs and history stay in a folder that is named at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec
from tests.cluster.chaos.chaos import run
from tests.cluster.chaos.report import as_markdown

RESULTS = Path(__file__).parents[3] / "bench" / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults to make, with commas between")
    parser.add_argument("--calm", action="store_true", help="let it recover from each fault")
    parser.add_argument("--keep", type=Path, help="folder for logs and history")
    parser.add_argument("--no-report", action="store_true", help="leave bench/results alone")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    only = [name for name in options.only.split(",") if name]
    report = run(options.seconds, options.seed, folder, only, long=True, calm=options.calm)
    text = as_markdown(report)
    if not options.no_report:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "chaos.md").write_text(text)
        (RESULTS / "chaos.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(text)
    print(f"Logs and history: {folder}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
