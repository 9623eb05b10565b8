"""`python -m bench`: measures, prints one table, and leaves it as JSON in `bench/results`."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cluster, figure, footprint, large, micro, reads, waiters, writes
from bench.site import Options
from bench.wrk import NoWrkError, ensure_wrk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.figure import Figure

RESULTS = Path(__file__).parent / "results"
SECTIONS: dict[str, Callable[[Options], list[Figure]]] = {
    "reads": reads.measure,
    "writes": writes.measure,
    "waiters": waiters.measure,
    "large": large.measure,
    "footprint": footprint.measure,
    "micro": micro.measure,
    "cluster": cluster.measure,
}


def main(words: list[str]) -> int:
    options = _parser().parse_args(words)
    try:
        ensure_wrk()
    except NoWrkError as error:
        print(error, file=sys.stderr)
        return 1
    run = _run(options.only or SECTIONS, Options(quick=options.quick))
    print(figure.table(run.figures))
    figure.write(run, RESULTS / "latest.json")
    if options.keep:
        figure.write(run, RESULTS / f"{options.keep}.json")
        (RESULTS / f"{options.keep}.md").write_text(figure.page(run))
    if run.missed:
        print(f"\n{len(run.missed)} gates are missed: {'; '.join(run.missed)}")
    return 1 if options.gate and run.missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="one part; repeatable")
    parser.add_argument("--quick", action="store_true", help="rough figures in a minute")
    parser.add_argument("--keep", metavar="NAME", help="write results/NAME.json and NAME.md too")
    parser.add_argument("--gate", action="store_true", help="fail when a gate is missed")
    return parser


def _run(names: Iterable[str], options: Options) -> figure.Run:
    load = figure.load()
    began = time.perf_counter()
    figures: list[Figure] = []
    for name in names:
        since = time.perf_counter()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        figures += SECTIONS[name](options)
        print(f"{time.perf_counter() - since:.0f} s", file=sys.stderr)
    return figure.Run(
        machine=figure.machine(),
        python=platform.python_version(),
        load=load,
        quick=options.quick,
        seconds=time.perf_counter() - began,
        figures=figures,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
