from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bellcow.cli.shell.errors import CommandError
from bellcow.cli.shell.files import read_input, replacing, write_private

if TYPE_CHECKING:
    from pathlib import Path


def test_bytes_that_are_no_text_do_not_stop_reading(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xffb")
    assert read_input(str(tmp_path / "f")) == "a\ufffdb"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Failed to read file: open .*: is a directory"):
        read_input(str(tmp_path))


def test_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "f", "x")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(path) as file:  # noqa: PT012  the body is the case
        file.write(b"ne")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
