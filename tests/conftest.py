"""Fixtures shared by all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import settings

from tests.harness import Agent
from tests.sim.loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# How long an example takes says more about the machine than about the code.
settings.register_profile("bellcow", deadline=None)
settings.load_profile("bellcow")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one process the tests that share a running server, and start the long ones first."""
    for item in items:
        if _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: item.get_closest_marker("lengthy") is None)


def _shares_a_fixture(item: pytest.Item) -> bool:
    names = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]  # no public way
    return any(
        definition.scope in {"module", "class", "package"}
        for definitions in names.values()
        for definition in definitions
    )


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The loop of a test that is a coroutine: the servers' own, or one of virtual time."""
    virtual = request.node.get_closest_marker("virtual_time") is not None
    return "asyncio", {"loop_factory": VirtualLoop if virtual else uvloop.new_event_loop}


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Starts agents; all are stopped when the test ends."""
    agents: list[Agent] = []

    def start(settings: dict[str, object] | None = None, **options: object) -> Agent:
        agent = Agent(tmp_path / f"agent-{len(agents)}", settings, **options)  # type: ignore[arg-type]
        agents.append(agent)
        return agent.start()

    yield start
    for agent in agents:
        agent.stop()
