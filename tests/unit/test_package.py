"""What a person gets who installs the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_wheel_carries_license_pages_and_units(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"),
            *("--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("bellcow-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for file in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("packaging/*")]:
        tail = file.relative_to(ROOT).as_posix().removeprefix("docs/").removeprefix("packaging/")
        assert any(name.endswith(f"bellcow/{tail}") for name in names), tail
