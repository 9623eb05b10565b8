"""The servers and the secrets of one run, shared by the files of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.abuse.secret_registry import Secrets
from tests.abuse.site import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory, secrets: Secrets) -> Iterator[Sites]:
    """Stopped at the end of the run; each must stop cleanly with a clean log."""
    made = Sites(tmp_path_factory.mktemp("abuse"), secrets)
    yield made
    made.stop()
