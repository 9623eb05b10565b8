"""Releases of etcd, built from their Go modules into a folder that is kept for the next time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.etcd.version import CannotRun, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.etcd.version import Version

MODULE = "go.etcd.io/etcd/server/v3"
MAIN = Path(__file__).with_name("main.go")
BUILD_S = 1_200


class CannotBuild(Exception):
    """Why a release is not to be had here."""


def find_go() -> str:
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        raise CannotBuild("there is no Go toolchain here")
    return go


def newest(go: str, minor: tuple[int, int]) -> Version:
    """The newest release of a minor version that bellcow takes without a word."""
    said = _run(go, "list", "-m", "-versions", MODULE, folder=Path("/"))
    return newest_of(said.split()[1:], minor)


def newest_of(names: Iterable[str], minor: tuple[int, int]) -> Version:
    versions = [_parsed(name) for name in names if "-" not in name]
    right = [each for each in versions if each[:2] == minor and _is_right(each)]
    if not right:
        raise CannotBuild(f"no module of etcd {minor[0]}.{minor[1]} can be had")
    return max(right)


def _parsed(name: str) -> Version:
    major, minor, patch = name.removeprefix("v").split(".")
    return int(major), int(minor), int(patch)


def _is_right(version: Version) -> bool:
    try:
        return not judge(version)
    except CannotRun:
        return False


def built(go: str, version: Version, cache: Path) -> Path:
    """The program of that release; built if it is not there yet."""
    text = ".".join(map(str, version))
    program = cache / text / "etcd"
    if program.exists():
        return program
    folder = cache / f"{text}.build"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(MAIN, folder)
    _run(go, "mod", "init", "etcd", folder=folder)
    _run(go, "get", f"{MODULE}@v{text}", folder=folder)
    _run(go, "build", "-mod=mod", "-o", "etcd", ".", folder=folder)
    folder.rename(program.parent)
    return program


def _run(*words: str, folder: Path) -> str:
    environment = {**os.environ, "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{' '.join(words)}: {error}") from error
    if done.returncode:
        raise CannotBuild(f"{' '.join(words)}: {done.stderr.strip()[-500:]}")
    return done.stdout
