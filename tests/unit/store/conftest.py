"""Files of embedded stores, and an etcd that is started once a session if a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.etcd import started
from tests.support.sqlite_stores import copy_to, fill, opened, small_pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def etcd_directory() -> Iterator[Path]:
    """Where a member of its own runs; tests wipe it before they use it."""
    with started() as directory:
        yield directory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server/store.db"


@pytest.fixture
def closed(path: Path) -> Path:
    """A store of 40 commits, cleanly closed."""
    files = opened(path)
    fill(files, 40)
    files.close()
    return path


@pytest.fixture
def crashed(path: Path, tmp_path: Path) -> Path:
    """The files of a store that was killed after a few commits: all of them in the log."""
    files = opened(small_pages(path))
    fill(files, 4)
    copy = copy_to(path, tmp_path / "crashed/store.db")
    files.close()
    return copy
