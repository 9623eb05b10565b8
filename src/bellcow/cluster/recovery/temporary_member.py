"""Runs an etcd alone for a moment, so that its directory can be filled or read.

The caller chooses the directory and passes the work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bellcow.deadline import until
from bellcow.store.protocol import StoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.etcd.client import Client
    from bellcow.etcd.flags import Plan
    from bellcow.etcd.process import Member
    from bellcow.events import Report

NOWHERE = "127.0.0.1:0"  # the kernel picks a port, so that no peer finds it
START_S = 60.0  # etcd replays its log before it answers
LOOK_S = 0.02  # between two status calls during the start
LINES_QUOTED = 5

T = TypeVar("T")


async def with_member(
    plan: Plan, work: Callable[[Client, int], Awaitable[T]], clock: Clock, report: Report
) -> T:
    """Call `work` with a client and the member's id; returns its result once etcd has stopped.

    Raises:
        Unavailable: etcd does not run; the text has its last lines.
        StoreError: `work` raised it.
    """
    from bellcow.etcd.process import Member

    lines = _EtcdLines(report)
    failure: StoreError | None = None
    async with asyncio.TaskGroup() as group:
        member = group.create_task(_live(Member(_hidden(plan), clock, lines), lines))
        try:
            result = await _use(plan, work, lines)
        except StoreError as error:
            failure = error
        finally:
            member.cancel()
    if failure is not None:
        raise failure
    return result


async def stopped(directory: Path) -> None:
    """End the etcd that a killed process of ours left running in this directory, if any.

    Raises:
        Unavailable: it cannot be ended.
    """
    from bellcow.etcd.orphan import end_orphan
    from bellcow.etcd.version import CannotRun

    try:
        await end_orphan(directory)
    except CannotRun as error:
        raise Unavailable(str(error)) from error


def _hidden(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, bind=NOWHERE)


class _EtcdLines:
    """A report that keeps etcd's last lines and notes whether etcd ended by itself."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lines: deque[str] = deque(maxlen=LINES_QUOTED)
        self.ended = False

    def __call__(self, event: str, /, **fields: object) -> None:
        if event in {"etcd_exited", "etcd_not_a_member"}:
            self.ended = True
        elif "text" in fields:
            self._lines.append(str(fields["text"]))
        self._report(event, **fields)

    def end(self, reason: str) -> None:
        self._lines.append(reason)
        self.ended = True

    def failure(self, plan: Plan) -> Unavailable:
        lines = "; ".join(self._lines) or "nothing"
        return Unavailable(f"etcd does not run in {plan.directory}. Its last lines: {lines}")


async def _live(member: Member, lines: _EtcdLines) -> None:
    from bellcow.etcd.version import CannotRun

    try:
        await member.run()
    except CannotRun as error:
        lines.end(str(error))


async def _use(plan: Plan, work: Callable[[Client, int], Awaitable[T]], lines: _EtcdLines) -> T:
    from bellcow.etcd.client import CallFailed, open_client

    try:
        async with open_client(plan.directory) as client:
            member_id = await _led(client, plan, lines)
            return await work(client, member_id)
    except CallFailed as error:
        raise Unavailable(str(error)) from error


async def _led(client: Client, plan: Plan, lines: _EtcdLines) -> int:
    """The member's id, once it leads.

    Raises:
        Unavailable: it ends, or `START_S` is over.
    """
    from bellcow.etcd import etcd_pb2 as pb
    from bellcow.etcd.client import CallFailed

    async def leading() -> int | None:
        if lines.ended:
            raise lines.failure(plan)
        with contextlib.suppress(CallFailed):
            status = await client.status(pb.StatusRequest())
            member_id: int = status.header.member_id
            return member_id if status.leader == member_id else None
        return None

    member_id = await until(leading, START_S, LOOK_S)
    if member_id is None:
        raise lines.failure(plan)
    return member_id
