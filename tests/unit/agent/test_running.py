"""The background tasks of a server: their order, and what ends them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from tests.support.http_here import built

from bellcow.agent.running import background, leader_loops, running
from bellcow.agent.start import StartError
from bellcow.config.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bellcow.server import Server


def with_server(test: Callable[[Server], Awaitable[None]]) -> None:
    """Run a test with a server that is built and not running."""

    async def run() -> None:
        async with built(load([], dev=True)) as server:
            await test(server)

    asyncio.run(run())


def names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def test_all_tasks_run_in_the_block_and_none_after_it() -> None:
    async def tasks(server: Server) -> None:
        async with running(server):
            # The lifecycle of a server that is alone has nothing to do, and has ended.
            assert {"mirror", *background(server)} - {"lifecycle"} <= names()
        assert not names() & {"mirror", *background(server)}

    with_server(tasks)


def test_server_that_is_alone_leads_when_the_block_begins() -> None:
    async def leads(server: Server) -> None:
        async with running(server):
            assert server.mirror.loaded.is_set()
            assert server.leadership.is_leader

    with_server(leads)


def test_leader_has_every_loop_of_its_services() -> None:
    async def loops(server: Server) -> None:
        owners = [type(getattr(loop, "__self__", None)).__name__ for loop in leader_loops(server)]
        assert owners == ["Membership", "Autopilot", "Snapshots", "LicenseWatch"]

    with_server(loops)


def test_state_is_checked_before_other_servers_can_call() -> None:
    async def again(server: Server) -> None:
        happened: list[str] = []

        @contextlib.asynccontextmanager
        async def peer_port() -> AsyncIterator[None]:
            happened.append("port open")
            yield
            happened.append("port closed")

        def check(checked: Server) -> None:
            assert checked is server
            happened.append("checked")

        async with running(server, check=check, peer_port=peer_port()):
            happened.append("running")
        assert happened == ["checked", "port open", "running", "port closed"]

    with_server(again)


def test_refused_state_ends_the_start() -> None:
    async def refused(server: Server) -> None:
        def check(_: Server) -> None:
            raise StartError("another region")

        with pytest.raises(ExceptionGroup) as group:
            async with running(server, check=check):
                pytest.fail("it must not start")
        assert group.value.subgroup(StartError)

    with_server(refused)


def test_failed_task_ends_the_block() -> None:
    async def failing(server: Server) -> None:
        async def join() -> None:
            raise StartError("no server to join")

        with pytest.raises(ExceptionGroup) as group:
            async with running(server, also={"join": join}):
                await asyncio.Event().wait()
        assert group.value.subgroup(StartError)

    with_server(failing)
