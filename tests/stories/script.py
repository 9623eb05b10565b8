"""The commands of the stories, and their output.

Each `do_` method is one command; it returns lines. Events of the servers come before them.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from tests.sim.store import Fault, script

from bellcow.errors import Error
from bellcow.gocompat.duration import NS_PER_S, Duration, parse_duration
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.commands import Written, put_setting
from bellcow.state.tables import AUTOPILOT, SCHEDULER
from bellcow.store.protocol import NO_HEAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.sim.world import SimServer, World

HIDDEN = {"archive_id", "kept", "path", "bytes"}


class Script:
    """One story under way."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._told: dict[SimServer, int] = {}
        self._sent: dict[str, asyncio.Task[str]] = {}
        self._archives: dict[str, bytes] = {}
        self._group = asyncio.TaskGroup()

    async def run(self, lines: list[str]) -> list[str]:
        """Run commands one after the other; returns the output lines."""
        out: list[str] = []
        for line in lines:
            verb, *words = line.split()
            answer = await getattr(self, f"do_{verb}")(*words)
            out += self._events()
            out += answer or []
        return out or ["ok"]

    async def finish(self) -> None:
        for task in self._sent.values():
            task.cancel()
        await asyncio.gather(*self._sent.values(), return_exceptions=True)

    def _events(self) -> list[str]:
        for server in self._world.servers.values():
            self._told.setdefault(server, 0)
        out = []
        for server, told in self._told.items():
            for name, fields in server.events[told:]:
                words = [f"{k}={v}" for k, v in fields.items() if k not in HIDDEN]
                out.append(" ".join([f"{server.name}: {name}", *words]))
            self._told[server] = len(server.events)
        return out

    # Servers and consensus

    async def do_begin(self) -> None:
        """Start all servers of the story; the first one leads."""
        await self._world.begin()

    async def do_start(self, name: str, *faults: str) -> None:
        """Start a server; its first commits fail as the words say."""
        self._world.start(name, script("commit", *(_fault(each) for each in faults)))
        await asyncio.sleep(0.001)

    async def do_stop(self, name: str) -> None:
        server = self._world.servers[name]
        self._told.setdefault(server, 0)
        await self._world.stop(name)

    async def do_elect(self, name: str) -> None:
        """Make the consensus elect a server, or `nobody`; servers see it at their next look."""
        self._world.elect(None if name == "nobody" else name)

    async def do_silence(self, name: str) -> None:
        """Make the engine beside a server stop answering."""
        self._world.servers[name].peers.reachable = lambda: False

    async def do_wait(self, time: str) -> None:
        await asyncio.sleep(parse_duration(time) / NS_PER_S)

    async def do_member(self, name: str, status: str) -> None:
        self._world.statuses[name] = status

    async def do_contact(self, name: str, time: str) -> None:
        self._world.contact_ms[name] = Duration.parse(time).s * 1_000

    # Store

    async def do_fault(self, name: str, call: Any, *faults: str) -> None:
        """Make the next calls of that kind fail, in this order; `-` is a call that succeeds."""
        self._world.servers[name].store.fault = script(call, *(_fault(each) for each in faults))

    async def do_lose(self, name: str, count: str) -> None:
        """Keep the next commits from the mirror of that server."""
        self._world.servers[name].store.lose = int(count)

    async def do_forget(self) -> None:
        """Compact the history."""
        self._world.disk.forget(len(self._world.disk.log))

    # Writes

    async def do_set(self, name: str, *words: str) -> list[str]:
        """Write the scheduler configuration, `algorithm`, and wait for the answer."""
        return [await self._answer(name, *words)]

    async def do_send(self, label: str, name: str, *words: str) -> None:
        """The same, without waiting for the answer."""
        task = asyncio.get_running_loop().create_task(self._answer(name, *words))
        self._sent[label] = task
        await asyncio.sleep(0)

    async def do_answer(self, label: str) -> list[str]:
        """The answer to the write sent as `label`, if there is one."""
        task = self._sent[label]
        return [f"{label}: {task.result() if task.done() else 'waits'}"]

    async def _answer(self, name: str, algorithm: str, cas: str = "") -> str:
        setting = SchedulerConfiguration(scheduler_algorithm=algorithm)
        index = int(cas.removeprefix("cas=")) if cas else None
        return await self._outcome(name, put_setting(SCHEDULER, setting, index))

    async def do_tune(self, name: str, *words: str) -> list[str]:
        """Change fields of the autopilot configuration."""
        fields = {key: _value(text) for key, text in (word.split("=") for word in words)}
        stored = self._world.servers[name].tables.one(AUTOPILOT) or AutopilotConfiguration()
        fresh = msgspec.structs.replace(stored, **fields)
        return [await self._outcome(name, put_setting(AUTOPILOT, fresh))]

    async def _outcome(self, name: str, command: Any) -> str:
        try:
            written: Written = await self._world.servers[name].write(command)
        except Error as error:
            return f"{error.code.value}: {error.message}"
        return f"done at {written.index}" + ("" if written.updated else ", did not match")

    # Snapshots

    async def do_save(self, name: str, label: str) -> list[str]:
        saved = await self._world.servers[name].snapshots.save()
        self._archives[label] = b"".join([piece async for piece in saved])
        return [f"saved as {label}"]

    async def do_restore(self, name: str, label: str, pause: str = "0s") -> list[str]:
        """Restore; the body comes in two halves with a pause between them."""
        body = _halves(self._archives[label], Duration.parse(pause).s)
        try:
            restored = await self._world.servers[name].snapshots.restore(body, "")
        except Error as error:
            return [f"{error.code.value}: {error.message}"]
        return [f"restored at {restored.index}, {restored.objects} objects"]

    async def do_restoring(self, label: str, name: str, archive: str) -> None:
        """Restore without waiting for the end."""
        task = asyncio.get_running_loop().create_task(self._restored(name, archive))
        self._sent[label] = task
        await asyncio.sleep(0)

    async def _restored(self, name: str, archive: str) -> str:
        return (await self.do_restore(name, archive))[0]

    # Views

    async def do_look(self) -> list[str]:
        """The leader, and what each memory and the store hold."""
        head = self._world.disk.head
        out = []
        for server in self._world.servers.values():
            role = "leads" if server.leadership.is_leader else "follows"
            stored = server.tables.one(SCHEDULER)
            what = f"{stored.scheduler_algorithm} of {stored.modify_index}" if stored else "nothing"
            at = server.tables.head
            out.append(f"{server.name} {role}, term {at.term}, index {at.index}, has {what}")
        if head is NO_HEAD:
            return [*out, "store is empty"]
        claim = f"claimed by {head.leader} in term {head.term}"
        kept = sorted(gen for gen, rows in self._world.disk.objects.items() if rows)
        return [*out, f"store at {head.index}, {claim}, floor {head.floor}, generations {kept}"]

    async def do_health(self, name: str) -> list[str]:
        health = self._world.servers[name].autopilot.health
        if health.servers is None:
            return ["no health yet"]
        state = "healthy" if health.healthy else "unhealthy"
        rows = [
            f"  {each.id}: {'healthy' if each.healthy else 'unhealthy'} since "
            f"{each.stable_since[11:19]}, {each.serf_status}, contact {each.last_contact}, "
            f"term {each.last_term}, index {each.last_index}"
            for each in health.servers
        ]
        return [f"{state}, tolerates {health.failure_tolerance}", *rows]

    async def do_time(self) -> list[str]:
        return [f"{asyncio.get_running_loop().time():.1f} s"]


def _fault(word: str) -> Fault | None:
    return None if word == "-" else Fault[word.upper()]


def _value(text: str) -> bool | int | Duration:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isdigit() else Duration.parse(text)


async def _halves(archive: bytes, pause_s: float) -> AsyncIterator[bytes]:
    middle = len(archive) // 2
    yield archive[:middle]
    await asyncio.sleep(pause_s)
    yield archive[middle:]


@contextlib.asynccontextmanager
async def opened(story: Script, world: World) -> AsyncIterator[Script]:
    async with world:
        try:
            yield story
        finally:
            await story.finish()
