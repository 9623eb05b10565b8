"""pyproject.toml says what is allowed, the lock files what is installed; they must agree."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
TOOLS = PROJECT["dependency-groups"]["dev"]
RENEW = "run `make lock`"


def locked(file: str) -> dict[str, tuple[Requirement, int]]:
    """The requirements of a lock file by name, each with the count of its hashes."""
    entries = re.findall(
        r"^(\S[^#\n]*?) \\\n((?:    --hash=\S+(?: \\)?\n)+)",
        (ROOT / file).read_text(),
        re.MULTILINE,
    )
    pinned = {}
    for line, hashes in entries:
        requirement = Requirement(line)
        pinned[canonicalize_name(requirement.name)] = requirement, hashes.count("--hash=sha256:")
    return pinned


LOCKS = {file: locked(file) for file in ("requirements.txt", "requirements-dev.txt")}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [("requirements.txt", each) for each in RUNTIME]
    + [("requirements-dev.txt", each) for each in TOOLS],
)
def test_lock_names_a_version_that_the_project_allows(file: str, wanted: str) -> None:
    requirement = Requirement(wanted)
    pinned = LOCKS[file].get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{file} lacks {requirement.name}: {RENEW}"
    (version,) = (each.version for each in pinned[0].specifier)
    assert requirement.specifier.contains(version), f"{file} has {pinned[0]}, not {wanted}: {RENEW}"


def test_each_locked_package_has_one_version_and_hashes() -> None:
    for pins in LOCKS.values():
        assert len(pins) > 20
        for requirement, hashes in pins.values():
            assert re.fullmatch(r"==[^,]+", str(requirement.specifier))
            assert hashes > 0


def test_both_locks_agree_on_what_they_share() -> None:
    runtime, tools = (
        {name: str(requirement.specifier) for name, (requirement, _) in pins.items()}
        for pins in LOCKS.values()
    )
    assert {name for name in runtime.keys() & tools.keys() if runtime[name] != tools[name]} == set()


def test_what_runs_is_what_the_lock_names() -> None:
    differs = []
    for pins in LOCKS.values():
        for name, (requirement, _) in pins.items():
            if requirement.marker is not None and not requirement.marker.evaluate():
                continue
            installed = importlib.metadata.version(name)
            if not requirement.specifier.contains(installed):
                differs.append(
                    f"{name} {installed}, locked {requirement.specifier}: run `make setup`"
                )
    assert differs == []


def test_package_says_whose_it_is_and_under_which_license() -> None:
    about = importlib.metadata.metadata("bellcow")
    assert about["License-Expression"] == "Apache-2.0"
    assert about["License-File"] == "LICENSE"
    assert about["Author"]
    assert about.get_all("Classifier")
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
