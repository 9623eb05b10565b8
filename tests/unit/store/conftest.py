"""A real etcd for the tests of stores, started once a session and only if a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.sim.etcd import started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def etcd_directory() -> Iterator[Path]:
    """Where a member of its own runs; tests wipe it before they use it."""
    with started() as directory:
        yield directory
