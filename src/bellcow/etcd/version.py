"""Finds etcd and its version, and refuses the releases that can lose a cluster's data."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TypeAlias

from bellcow.deadline import timeout

Version: TypeAlias = tuple[int, int, int]

ANSWER_S = 10.0
_LINE = re.compile(r"etcd Version: (\d+)\.(\d+)\.(\d+)")
_NEWEST_MINOR = (3, 7)


class CannotRun(Exception):
    """Why no member can run here, and what to do about it."""


def find_program(wanted: str) -> str:
    """The path of etcd: `wanted`, or the one in PATH.

    Raises:
        CannotRun: there is no such program.
    """
    found = shutil.which(wanted or "etcd")
    if found is not None:
        return found
    if wanted:
        raise CannotRun(f"server.etcd_path names {wanted}, and there is no program there")
    raise CannotRun(
        "several servers need etcd, which is not installed: on Debian and Ubuntu "
        "`apt-get install etcd-server`, elsewhere unpack the archive of an etcd release and name "
        'its program in server.etcd_path. One server alone needs none: engine = "embedded"'
    )


async def read_version(program: str) -> Version:
    """The version that the program prints.

    Raises:
        CannotRun: the program cannot be started, does not answer, or prints no version.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise CannotRun(f"{program} cannot be started: {error.strerror}") from error
    try:
        async with timeout(ANSWER_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CannotRun(f"{program} --version gave no answer in {ANSWER_S:g} s") from None
    return parse_version(program, output.decode("utf-8", "replace"))


def parse_version(program: str, output: str) -> Version:
    """The version in the output of `etcd --version`.

    Raises:
        CannotRun: the output has no version.
    """
    line = _LINE.search(output)
    if line is None:
        raise CannotRun(f"{program} does not say which version of etcd it is: {output[:200]!r}")
    major, minor, patch = line.groups()
    return int(major), int(minor), int(patch)


def judge(version: Version) -> str:
    """A warning about this release, or "".

    Raises:
        CannotRun: the release may lose data, or speaks another protocol.
    """
    text = ".".join(map(str, version))
    minor = version[:2]
    if version < (3, 4, 21) or (3, 5, 0) <= version <= (3, 5, 5):
        raise CannotRun(
            f"etcd {text} can lose or corrupt data: install 3.5.20, 3.6.4 or a later release"
        )
    if version[0] > 3:
        raise CannotRun(f"etcd {text} speaks another protocol: install a release of etcd 3")
    if version < (3, 5, 20):
        return f"etcd {text} is old and has known faults: 3.5.20 or later is better"
    if (3, 6, 0) <= version < (3, 6, 4):
        return f"etcd {text} has known faults: 3.6.4 or later is better"
    if minor > _NEWEST_MINOR:
        return f"etcd {text} is newer than what this version of bellcow was tested with"
    return ""
