"""Runs a server: owns its background tasks, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from bellcow.errors import Error
from bellcow.license.watch import LicenseWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from bellcow.server import Server

    Run = Callable[[], Coroutine[Any, Any, None]]


def leader_loops(server: Server) -> list[Callable[[], Awaitable[None]]]:
    """The loops that run while this server leads. None of them returns."""
    return [
        server.membership.run,
        server.autopilot.run,
        server.snapshots.housekeeping,
        LicenseWatch(server.licenses, server.clock, server.report).run,
    ]


def background(server: Server) -> dict[str, Run]:
    """The tasks of every server besides the mirror, by name."""
    return {
        "reads": server.reads.run,
        "hello": server.exchange.run,
        "lifecycle": server.lifecycle.run,
        "leadership": partial(server.leadership.run, leader_loops(server)),
        "quota": server.quota.run,
        "tokens": partial(server.bad_tokens.run, server.report),
    }


def _any_state(server: Server) -> None:
    del server


@contextlib.asynccontextmanager
async def running(
    server: Server,
    *,
    check: Callable[[Server], None] = _any_state,
    peer_port: contextlib.AbstractAsyncContextManager[object] | None = None,
    also: Mapping[str, Run] | None = None,
) -> AsyncIterator[None]:
    """Run every task of the server for as long as the block lasts.

    The order: the mirror; on a server that is alone its state; `peer_port`; `background` and
    `also`; on a server that is alone its leadership. Then the block begins. `check` judges the
    state as soon as it is loaded. An exception of a task, of `check` or of the block ends all tasks
    and is raised within an ExceptionGroup.
    """

    async def checked_state() -> None:
        await server.mirror.loaded.wait()
        check(server)

    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as ports:
        tasks = [group.create_task(server.mirror.run(), name="mirror")]
        if server.lifecycle.is_alone:
            await checked_state()
        else:
            tasks.append(group.create_task(checked_state(), name="state"))
        if peer_port is not None:
            await ports.enter_async_context(peer_port)
        for name, run in {**background(server), **(also or {})}.items():
            tasks.append(group.create_task(run(), name=name))
        if server.lifecycle.is_alone:
            with contextlib.suppress(Error):  # it starts even without space or quorum
                await server.leadership.wait_for_leader()
        yield
        for task in tasks:
            task.cancel()
