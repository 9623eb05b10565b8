from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bellcow import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), files.replacing(path) as file:  # noqa: PT012  the body is the case
        file.write(b"ne")
        raise RuntimeError
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])
    with files.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"new", [path])


@pytest.mark.parametrize("umask", [0, 0o277])
def test_the_mode_is_the_one_asked_for_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "private", b"x")
        files.write(tmp_path / "public", b"x", 0o644)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("private", "public")]
    assert modes == [0o600, 0o644]


def test_a_file_that_is_replaced_gives_neither_its_mode_nor_its_inode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    path.chmod(0o666)
    with path.open("rb") as held_by_another:
        files.write(path, b"secret")
        assert held_by_another.read() == b""
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to(tmp_path / "elsewhere")
    files.write(tmp_path / "f", b"x")
    assert not (tmp_path / "f").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_the_name_of_an_unfinished_file_cannot_be_guessed(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with files.replacing(tmp_path / "f"):
            names |= {each.name for each in tmp_path.iterdir()} - {"f"}
    assert len(names) == 2
    assert all(name.startswith("f.") and name.endswith(files.PARTIAL) for name in names)


def test_the_longest_name_of_a_file_can_be_written(tmp_path: Path) -> None:
    files.write(tmp_path / ("\u20ac" * 85), b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["\u20ac" * 85]
