"""Feeds damaged archives to the reader: it may refuse, it may not crash, hang or swell.

    python tests/fuzz/fuzz_archive.py [SECONDS] [SEED]

Mutates at random, in three layers: the file, the tar inside it, and the state behind right hashes.
With atheris installed, the first argument `atheris` lets it steer; more go to libFuzzer.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import sys
import tarfile
import time

import msgspec

from bellcow.errors import Code, Error
from bellcow.snapshot import archive

ROOM = archive.Limit(8 << 20)
WHOLE = {Code.REFUSED, Code.INVALID, Code.TOO_LARGE}
PARTS = (b"", b"\0" * 512, b"\xff" * 4, b"meta.json", b"state.bin", b"7777777", b"\x91" * 3_000)


def sample() -> bytes:
    records = [(f"table{n % 3}", str(n), b"\x81\xa1a" + bytes([n])) for n in range(100)]
    out = io.BytesIO()
    archive.write(out, archive.Origin(index=9, term=2, wall_ns=10**18), records, io.BytesIO())
    return out.getvalue()


def sealed(state: bytes) -> bytes:
    """Right hashes and the right size around any state."""
    meta = msgspec.json.encode({"Version": 1, "Size": len(state)})
    members = {"meta.json": meta, "state.bin": state}
    sums = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in members.items()]
    members["SHA256SUMS"] = "".join(sums).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            out.addfile(member, io.BytesIO(body))
    return gzip.compress(raw.getvalue(), 1)


def check(packed: bytes) -> None:
    """One run of the reader; anything but a whole answer or a proper refusal is a finding."""
    for run in (lambda: list(read(packed).records()), lambda: archive.inspect(io.BytesIO(packed))):
        try:
            run()
        except Error as error:
            if error.code not in WHOLE or len(error.message) > 4_000:
                raise AssertionError(f"{error.code}: {error.message[:200]}") from error


def read(packed: bytes) -> archive.Archive:
    return archive.read(io.BytesIO(packed), io.BytesIO(), ROOM)


def mutated(chance: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0:
                out[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del out[place : place + chance.randrange(1, 600)]
            case 2:
                out[place:place] = chance.choice(PARTS)
            case 3:
                start = chance.randrange(len(out) + 1)
                out[place:place] = out[start : start + chance.randrange(1, 1_200)]
            case _:
                out[place : place + 4] = chance.randrange(1 << 32).to_bytes(4, "big")
    return bytes(out)


def run(runs: int, seed: int) -> None:
    chance = random.Random(seed)
    whole = sample()
    raw = gzip.decompress(whole)
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        state = opened.extractfile("state.bin").read()
    layers = (
        lambda: mutated(chance, whole),
        lambda: gzip.compress(mutated(chance, raw), 0),
        lambda: sealed(mutated(chance, state)),
    )
    for number in range(runs):
        packed = layers[number % len(layers)]()
        begin = time.monotonic()
        try:
            check(packed)
        except BaseException:
            print(f"seed {seed}, run {number}, archive in hex: {packed.hex()}")
            raise
        if time.monotonic() - begin > 5:
            raise AssertionError(f"seed {seed}, run {number} took over five seconds")


def main() -> None:
    if sys.argv[1:2] == ["atheris"]:
        import atheris

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
        atheris.Fuzz()
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"{run(seconds, seed)} archives, seed {seed}: no crash")


if __name__ == "__main__":
    main()
