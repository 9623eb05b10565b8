"""Differences between the loaded state and the configuration files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.support.http_here import leading

from bellcow.agent.start import StartError
from bellcow.agent.state_check import check_state
from bellcow.config.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bellcow.config.load import Loaded
    from bellcow.server import Server


def with_file(folder: Path, text: str, test: Callable[[Loaded, Server], None]) -> None:
    """Run a test with this file and a server whose cluster was formed with default settings."""
    path = folder / "agent.hcl"
    path.write_text(text)

    async def run() -> None:
        async with leading(load([], dev=True)) as server:
            test(load([str(path)], dev=True), server)

    asyncio.run(run())


def test_setting_that_applied_only_at_the_formation_is_reported(tmp_path: Path) -> None:
    def reported(loaded: Loaded, server: Server) -> None:
        check_state(loaded, server)
        assert server.facts.log.reported("config_differs") == 1

    with_file(tmp_path, "autopilot { min_quorum = 3 }", reported)


def test_setting_that_the_file_does_not_name_is_not_reported(tmp_path: Path) -> None:
    def reported(loaded: Loaded, server: Server) -> None:
        check_state(loaded, server)
        assert server.facts.log.reported("config_differs") == 0

    with_file(tmp_path, 'log_level = "INFO"', reported)


def test_state_of_another_region_ends_the_start(tmp_path: Path) -> None:
    def refused(loaded: Loaded, server: Server) -> None:
        with pytest.raises(StartError, match='cluster of region "global"'):
            check_state(loaded, server)

    with_file(tmp_path, 'region = "elsewhere"', refused)
