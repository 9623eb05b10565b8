"""Runs recorded command lines against a real agent, and compares what both printed.

What belongs to one run (identifiers, ports, times, indexes, keys) is replaced by a word on both
sides; everything else must be equal byte for byte.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness import BELLCOW, free_ports

from bellcow.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Agent

RECORDINGS = Path(__file__).parent / "recordings/cli"
LEFT_OUT_HELP = "[help text left out of the recording]"
CUT = "[cut here]"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_RULES = (
    (_UUID, "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z)"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"(127\.0\.0\.1  )\d+"), r"\1<port>"),
    (re.compile(r"\b[A-Za-z0-9+/]{43}="), "<key>"),
    (re.compile(r"nomad-state-\d+-\d+\.snap"), "<default name>"),
    (re.compile(r"(Index\"?\s*[:=] )\d+"), r"\1<index>"),
    (re.compile(r"(index: )\d+"), r"\1<index>"),
)
_OTHER_SERVERS = re.compile(r"^node-[23]\.global .*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One recorded command line."""

    file: str
    name: str
    argv: list[str]
    env: dict[str, str]
    stdin: str | None
    outcome: Outcome


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    status: int
    out: str
    err: str

    def comparable(self) -> Outcome:
        return Outcome(self.status, _comparable(self.out), _comparable(self.err))


def load(file: str) -> list[Case]:
    recorded: list[dict[str, Any]] = json.loads((RECORDINGS / f"{file}.json").read_text())
    return [
        Case(
            file=file,
            name=one["name"],
            argv=one["argv"],
            env=one["env"],
            stdin=one.get("stdin"),
            outcome=Outcome(one["exit"], one["stdout"], one["stderr"]),
        )
        for one in recorded
    ]


def _comparable(text: str) -> str:
    for pattern, word in _RULES:
        text = pattern.sub(word, text)
    return text


@dataclass
class Stage:
    """One agent, one working directory, and what the recorded identifiers are called there."""

    agent: Agent
    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (closed,) = free_ports(1)
        self.names |= {
            "http://127.0.0.1:22999": f"http://127.0.0.1:{closed}",
            "127.0.0.1:22998": f"127.0.0.1:{closed}",
            "127.0.0.1:22022": f"127.0.0.1:{self.agent.serf_port}",
            "$WORK": str(self.folder),
        }
        for port in ("22010", "22020", "22600"):
            self.names[f"127.0.0.1:{port}"] = f"127.0.0.1:{self.agent.http_port}"

    def here(self, text: str) -> str:
        """A recorded text in the words of this stage."""
        for recorded, actual in self.names.items():
            text = text.replace(recorded, actual)
        return text

    def play(self, case: Case) -> Outcome:
        """Run the case; what it prints is told in the recording's words where they are known."""
        env = {name: self.here(value) for name, value in case.env.items()}
        argv = [self.here(word) for word in case.argv]
        stdin = self.here(case.stdin or "").encode()
        with _process(env, self.folder, stdin) as (out, err):
            status = run(argv)
        outcome = Outcome(status, _text(out), _text(err))
        self._learn(case.outcome, outcome)
        work = str(self.folder)
        return Outcome(
            status, outcome.out.replace(work, "$WORK"), outcome.err.replace(work, "$WORK")
        )

    def play_apart(self, case: Case) -> Outcome:
        """The same in a process of its own, so that several can be played at once."""
        program = self.folder / "nomad"
        with contextlib.suppress(FileExistsError):  # another one is played at the moment
            program.symlink_to(BELLCOW)
        ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        done = subprocess.run(
            [program, *(self.here(word) for word in case.argv[1:])],
            env={**ours, **{name: self.here(value) for name, value in case.env.items()}},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _learn(self, recorded: Outcome, actual: Outcome) -> None:
        """Identifiers that were made by this case: in the same places on both sides."""
        old, new = _UUID.findall(recorded.out), _UUID.findall(actual.out)
        if len(old) == len(new):
            self.names |= {a: b for a, b in zip(old, new, strict=True) if a not in self.names}


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextlib.contextmanager
def _process(
    env: dict[str, str], folder: Path, stdin: bytes
) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Environment, working directory and streams as a process of its own would have them."""
    streams = sys.stdin, sys.stdout, sys.stderr
    environment, directory = dict(os.environ), Path.cwd()
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    ours = {name: environment[name] for name in ("PATH", "HOME") if name in environment}
    try:
        os.environ.clear()
        os.environ.update(ours | env)
        os.chdir(folder)
        sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin)), out, err
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)


def differences(case: Case, actual: Outcome, *, any_order: bool = False) -> list[str]:
    """In what the actual outcome differs from the recorded one; nothing when they are the same."""
    recorded, found = case.outcome.comparable(), actual.comparable()
    expected = _recorded_part(_OTHER_SERVERS.sub("", recorded.out), recorded.out)
    printed = _recorded_part(found.out, recorded.out)
    if any_order:
        expected, printed = (" ".join(sorted(text.split("\n"))) for text in (expected, printed))
    compared = (
        ("status", recorded.status, found.status),
        ("out", expected, printed),
        ("err", recorded.err, found.err),
    )
    return [f"{name}: recorded {a!r}, is {b!r}" for name, a, b in compared if a != b]


def _recorded_part(text: str, recorded: str) -> str:
    """Of a text, as much as the recording holds: help pages and metrics are cut there."""
    if LEFT_OUT_HELP in recorded:
        return text.partition("\n")[0]
    return text[: len("# HELP ")] if CUT in recorded else text
