"""The member as a context, with a fake process. `tests/cluster` runs a real etcd."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import FixedClock
from tests.support.etcd import Events, run, short_directory

from bellcow.cluster.engine.etcd_member import EtcdMember
from bellcow.cluster.engine.protocol import Start
from bellcow.etcd import process
from bellcow.etcd.flags import Plan
from bellcow.store.protocol import Corrupt, Fenced

if TYPE_CHECKING:
    from pathlib import Path

START = Start(existing=False, members=(("one", "127.0.0.1:1"),), token="test.0")


def member(directory: Path, script: str) -> EtcdMember:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory.parent / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    plan = Plan(
        server_id="one",
        directory=directory,
        program=str(program),
        version=(3, 4, 23),
        bind="127.0.0.1:1",
        advertise="127.0.0.1:1",
    )
    return EtcdMember(plan, FixedClock(), Events())


def ended(script: str) -> Any:
    """What a member with this program comes to."""

    async def story(directory: Path) -> Any:
        async with member(directory, script).running(START) as running:
            await asyncio.wait([running.ended], timeout=20)
            return running.ended.exception()

    with short_directory() as directory:
        return run(story(directory))


def test_exit_code_zero_means_removed_from_the_cluster():
    assert ended("exit 0") is None


def test_member_that_keeps_ending_is_reported_and_cancels_nothing(monkeypatch):
    monkeypatch.setattr(process, "EXITS_MAX", 1)
    assert isinstance(ended("echo no such port >&2; exit 1"), Corrupt)


def test_error_of_the_context_body_passes_through():
    async def story(directory: Path) -> None:
        async with member(directory, "sleep 60").running(START):
            raise Fenced("the store holds another head")

    with short_directory() as directory, pytest.raises(Fenced, match="another head"):
        run(story(directory))


def test_only_the_first_start_gets_the_initial_cluster():
    with short_directory() as directory:
        assert not member(directory, "exit 0").has_data()
