"""Random damage to samples: a number of inputs from a seed. With atheris it may steer."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SLOW_S = 1.0
SIZE_MAX = 20_000


class Target(NamedTuple):
    """What is fed, with what to begin, and which pieces mean something to it."""

    check: Callable[[bytes], None]
    samples: Sequence[bytes]
    pieces: Sequence[bytes]


def mutated(chance: random.Random, target: Target) -> bytes:
    out = bytearray(chance.choice(target.samples))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(out) + 1)
        match chance.randrange(6):
            case 0:
                out[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del out[place : place + chance.randrange(1, 20)]
            case 2:
                out[place:place] = chance.choice(target.pieces)
            case 3:
                out[place:place] = chance.choice(target.pieces) * chance.randrange(1, 300)
            case 4:
                start = chance.randrange(len(out) + 1)
                out[place:place] = out[start : start + chance.randrange(1, 40)]
            case _:
                out[place:] = chance.choice(target.samples)[chance.randrange(20) :]
    return bytes(out[:SIZE_MAX])


def run(target: Target, runs: int, seed: int) -> None:
    """Try so many inputs. What breaks the target is printed, and raised."""
    chance = random.Random(seed)
    for number in range(runs):
        data = mutated(chance, target)
        began = time.process_time()
        try:
            target.check(data)
        except BaseException:
            print(f"seed {seed}, run {number}, input {data!r}")
            raise
        if time.process_time() - began > SLOW_S:
            raise AssertionError(f"seed {seed}, run {number} is slow, input {data!r}")


def main(target: Target) -> None:
    """`FILE.py [RUNS] [SEED]`, or `FILE.py atheris [OPTIONS OF LIBFUZZER]`."""
    if sys.argv[1:2] == ["atheris"]:
        import atheris

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], target.check)
        atheris.Fuzz()
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    run(target, runs, seed)
    print(f"{runs} inputs, seed {seed}: no finding")
