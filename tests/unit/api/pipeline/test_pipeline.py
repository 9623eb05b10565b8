"""The pipeline where memory must be confirmed first, and where leadership ends meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from tests.support.http_here import Here, here
from tests.support.raw_http import connected, get, until

from bellcow.api.message import Confirming as Round
from bellcow.api.message import Request, Response, Wait
from bellcow.api.pipeline.answers import contact
from bellcow.clock import SystemClock
from bellcow.cluster.members.table import Leader
from bellcow.errors import Error, no_leader
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.commands import put_setting
from bellcow.state.confirmed_reads import ConfirmedReads
from bellcow.state.tables import ONLY, SCHEDULER
from bellcow.store.protocol import NO_HEAD, Confirmation, Unavailable
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.raw_http import Client

    from bellcow.store.protocol import Head

PATH = "/v1/operator/scheduler/configuration"
BLOCKING = "/v1/namespaces?index=%d"


class Confirming:
    """A store that confirms when the test lets it."""

    confirmation = Confirmation.MAJORITY

    def __init__(self) -> None:
        self.confirms = 0
        self.fails = False
        self.free = asyncio.Event()
        self.free.set()

    async def confirm(self) -> Head:
        self.confirms += 1
        await self.free.wait()
        if self.fails:
            raise Unavailable("no leader")
        return NO_HEAD


class Leading:
    """A leadership that the test takes away. The forwarder is this server's own: there is none."""

    def __init__(self, epoch: int) -> None:
        self.is_leader = True
        self.leader_id = "me"
        self.epoch = epoch
        self.member_answers = True

    @property
    def follows(self) -> bool:
        return not self.is_leader and self.member_answers and bool(self.leader_id)

    async def wait_for_leader(self) -> None:
        if not self.leader_id:
            raise no_leader()


class Alone:
    """A forwarder that knows of nobody."""

    def __init__(self) -> None:
        self.asked = 0

    async def to_leader(self, ask: object, content: object = None) -> object:
        self.asked += 1
        raise no_leader()

    def finds(self, name: str) -> bool:
        return False


class Confirmed(NamedTuple):
    here: Here
    store: Confirming
    leading: Leading
    alone: Alone
    client: Client

    def lose(self) -> None:
        """As the end of leadership does it."""
        self.leading.is_leader, self.leading.leader_id = False, ""
        self.leading.epoch += 1
        self.here.server.waiting.wake_all()

    def follow(self) -> None:
        """Another server leads."""
        self.leading.is_leader, self.leading.leader_id = False, "other"
        self.leading.epoch += 1
        self.here.server.waiting.wake_all()

    def now(self, target: str, request: Request | None = None) -> Response | Wait | None:
        return self.here.pipeline.answer_now(request or self.here.request("GET", target))


@contextlib.asynccontextmanager
async def confirmed() -> AsyncIterator[Confirmed]:
    async with asyncio.timeout(20), here() as site, connected(site.port) as client:
        store, server = Confirming(), copy.copy(site.server)
        reads = ConfirmedReads(store, server.mirror, server.waiting)  # type: ignore[arg-type]
        leading, alone = Leading(server.leadership.epoch), Alone()
        for name, value in (("reads", reads), ("leadership", leading), ("forwarder", alone)):
            object.__setattr__(server, name, value)
        site.pipeline._server = server
        async with asyncio.TaskGroup() as group:
            task = group.create_task(reads.run())
            yield Confirmed(site, store, leading, alone, client)
            task.cancel()


class NoBody:
    async def read(self, limit: int) -> bytes | None:
        return None


class Given:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, limit: int) -> bytes | None:
        return self._body[:limit]


def localhost(path: str) -> bytes:
    return get(path).replace(b"Host: test", b"Host: localhost")


# --- where nothing waits


async def test_read_on_the_embedded_store_is_answered_at_once():
    async with here() as site:
        assert isinstance(site.pipeline.answer_now(site.request("GET", PATH)), Response)


@pytest.mark.parametrize("target", [f"{PATH}?stale", "/v1/regions", "/v1/agent/members"])
async def test_stale_or_local_read_is_answered_at_once(target: str):
    async with confirmed() as site:
        assert isinstance(site.now(target), Response)
        assert site.store.confirms == 0


async def test_setting_is_shown_as_written_last_though_the_row_before_had_an_index_above_all():
    far = SchedulerConfiguration(create_index=1 << 40, modify_index=1 << 40)

    async with here() as site:
        tables = site.server.tables
        tables.apply(tables.head, {(SCHEDULER.name, ONLY): to_msgpack(far)})
        before = site.pipeline.answer_now(site.request("GET", PATH))
        after_it = SchedulerConfiguration(scheduler_algorithm="spread")
        written = await site.server.commit(put_setting(SCHEDULER, after_it))
        after = site.pipeline.answer_now(site.request("GET", PATH))
        assert isinstance(before, Response)
        assert isinstance(after, Response)
        assert (b'"binpack"' in before.body, b'"spread"' in after.body) == (True, True)
        assert (b"X-Nomad-Index", b"%d" % (written.index - 1)) in before.headers
        assert (b"X-Nomad-Index", b"%d" % written.index) in after.headers


# --- where it does


async def test_read_waits_for_a_confirm_that_began_after_it_came():
    async with confirmed() as site:
        site.store.free.clear()
        first = site.here.request("GET", PATH)
        wait = site.now("", first)
        assert isinstance(wait, Wait)
        assert wait.brief
        await until(lambda: site.store.confirms == 1)
        late = site.here.request("GET", PATH)
        assert isinstance(late_wait := site.now("", late), Wait)
        assert late_wait.tables != wait.tables
        site.store.free.set()
        await until(lambda: site.store.confirms == 2)
        answer = site.now("", first)
        assert isinstance(answer, Response)
        assert answer.status == 200


async def test_both_doors_answer_the_same_after_the_confirm():
    async with confirmed() as site:
        await site.client.send(localhost(PATH))
        fast = await site.client.answer()
        slow = await site.here.pipeline.answer(site.here.request("GET", PATH), NoBody())
        assert (fast.status, fast.body) == (slow.status, slow.body)
        assert site.store.confirms == 2


async def test_archive_waits_for_a_confirm_too():
    async with confirmed() as site:
        request = site.here.request("GET", "/v1/operator/snapshot")
        response = await site.here.pipeline.answer(request, NoBody())
        assert response.status == 200
        assert response.stream is not None
        await response.stream.aclose()  # type: ignore[attr-defined]
        assert site.store.confirms == 1
        stale = site.here.request("GET", "/v1/operator/snapshot?stale")
        response = await site.here.pipeline.answer(stale, NoBody())
        await response.stream.aclose()  # type: ignore[union-attr]
        assert site.store.confirms == 1


async def test_write_waits_for_its_commit_only():
    async with confirmed() as site:
        request = site.here.request("PUT", "/v1/system/gc")
        assert (await site.here.pipeline.answer(request, NoBody())).status == 200
        assert site.store.confirms == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", [PATH, "/v1/operator/snapshot"])
async def test_read_that_is_not_confirmed_within_two_seconds_ends_without_a_leader(path: str):
    async with confirmed() as site:
        site.store.fails = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        await site.client.send(localhost(path))
        answer = await site.client.answer()
        assert (answer.status, answer.body) == (500, b"No cluster leader")
        assert 1.9 < loop.time() - began < 3.5


async def test_confirm_that_fails_once_is_made_again_within_the_two_seconds():
    async with confirmed() as site:
        site.store.fails = True
        await site.client.send(localhost(PATH))
        await until(lambda: site.store.confirms == 2)
        site.store.fails = False
        assert (await site.client.answer()).status == 200


@pytest.mark.parametrize("path", [PATH, "/v1/operator/snapshot"])
async def test_read_that_waits_is_ended_by_the_loss_of_leadership(path: str):
    async with confirmed() as site:
        site.store.free.clear()
        await site.client.send(localhost(path))
        await until(lambda: site.store.confirms == 1)
        site.lose()
        answer = await site.client.answer()
        assert (answer.status, answer.body) == (500, b"No cluster leader")
        assert site.alone.asked == 0


async def test_confirmed_read_is_answered_after_the_leadership_was_lost():
    async with confirmed() as site:
        request = site.here.request("GET", PATH)
        assert isinstance(site.now("", request), Wait)
        await until(lambda: site.here.pipeline._server.reads.is_confirmed(request.progress.round))
        site.leading.is_leader, site.leading.leader_id = False, ""
        answer = site.now("", request)
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert (b"X-Nomad-Knownleader", b"false") in answer.headers


# --- a follower


async def test_follower_answers_from_its_memory_once_a_majority_has_confirmed_it():
    async with confirmed() as site:
        site.follow()
        await site.client.send(localhost(PATH))
        answer = await site.client.answer()
        assert answer.status == 200
        assert answer.headers[b"X-Nomad-Knownleader"] == b"true"
        assert answer.headers[b"X-Nomad-Lastcontact"] == b"0"
        assert (site.store.confirms, site.alone.asked) == (1, 0)


async def test_follower_whose_member_does_not_answer_asks_the_leader():
    async with confirmed() as site:
        site.follow()
        site.leading.member_answers = False
        assert site.now(PATH) is None  # a task forwards it
        assert site.store.confirms == 0


async def test_read_that_waits_at_a_follower_is_answered_once_this_server_leads():
    async with confirmed() as site:
        site.follow()
        site.store.free.clear()
        await site.client.send(localhost(PATH))
        reading = asyncio.create_task(site.client.answer())
        await until(lambda: site.store.confirms == 1)
        site.leading.is_leader, site.leading.leader_id = True, "me"
        site.here.server.waiting.wake_all()
        await asyncio.sleep(0.01)
        assert not reading.done()
        site.store.free.set()
        assert (await reading).status == 200


# --- blocking queries


async def commit(site: Confirmed) -> None:
    spread = SchedulerConfiguration(scheduler_algorithm="spread")
    await site.here.server.commit(put_setting(SCHEDULER, spread, None))


async def test_blocking_query_confirms_once_however_often_it_is_woken():
    async with confirmed() as site:
        index = site.here.server.tables.index
        request = site.here.request("GET", BLOCKING % (index + 100))
        assert isinstance(site.now("", request), Wait)
        await until(lambda: site.here.pipeline._server.reads.is_confirmed(request.progress.round))
        for _ in range(3):
            wait = site.now("", request)
            assert isinstance(wait, Wait)
            assert not wait.brief
            await commit(site)
        assert site.store.confirms == 1


@pytest.mark.parametrize("door", ["fast", "task"])
async def test_blocking_query_is_ended_by_the_loss_of_leadership(door: str):
    async with confirmed() as site:
        target = BLOCKING % (site.here.server.tables.index + 100)
        if door == "fast":
            await site.client.send(localhost(target))
            asked = asyncio.ensure_future(site.client.answer())
        else:
            request = site.here.request("GET", target)
            asked = asyncio.ensure_future(site.here.pipeline.answer(request, NoBody()))
        await until(lambda: site.here.server.waiting.has("namespaces"))
        site.lose()
        answer = await asked
        assert (answer.status, answer.body) == (500, b"No cluster leader")
        assert site.alone.asked == 0


async def test_stale_blocking_query_outlives_the_leadership():
    async with confirmed() as site:
        target = BLOCKING % (site.here.server.tables.index + 100) + "&stale"
        await site.client.send(localhost(target))
        await until(lambda: site.here.server.waiting.has("namespaces"))
        site.lose()
        await until(lambda: site.here.server.waiting.has("namespaces"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await site.client.answer()


# --- clients that leave, and our own stop


async def test_client_that_closes_its_side_still_gets_a_read_that_is_being_confirmed():
    async with confirmed() as site:
        site.store.free.clear()
        await site.client.send(localhost(PATH))
        await until(lambda: site.store.confirms == 1)
        site.client.writer.write_eof()
        await asyncio.sleep(0.05)
        site.store.free.set()
        assert (await site.client.answer()).status == 200
        assert await site.client.rest() == b""


async def test_client_that_closes_its_side_gets_a_blocking_query_as_things_stand():
    async with confirmed() as site:
        site.store.free.clear()
        await site.client.send(localhost(BLOCKING % (site.here.server.tables.index + 100)))
        await until(lambda: site.store.confirms == 1)
        site.client.writer.write_eof()
        await asyncio.sleep(0.05)
        site.store.free.set()
        assert (await site.client.answer()).status == 200


async def test_read_that_is_being_confirmed_is_answered_when_the_server_stops():
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(confirmed())
        site.store.free.clear()
        await site.client.send(localhost(PATH))
        await until(lambda: site.store.confirms == 1)
        asyncio.get_running_loop().call_later(0.1, site.store.free.set)
        answer = asyncio.ensure_future(site.client.answer())
        [connection] = connections()
        connection.shutdown()
        assert (await answer).status == 200


def connections() -> list[Any]:
    import gc

    from bellcow.api.http.connection import Connection

    return [each for each in gc.get_objects() if isinstance(each, Connection) and each._query]


# --- how old an answer may be


class Seen:
    """What `contact` looks at."""

    def __init__(
        self,
        *,
        leads: bool = False,
        leader: str = "",
        heard: float | None = None,
        committed_ns: int = 0,
    ):
        self.clock = SystemClock()
        self.leadership = Leading(0)
        self.leadership.is_leader, self.leadership.leader_id = leads, leader
        self.roster = self
        self.tables = self
        self.index = 7
        self.table = self
        self.itself = self
        self.server_id = "me"
        self.heard = heard
        self.head = msgspec.structs.replace(NO_HEAD, time_ns=committed_ns)
        self.leader = None
        if leader or heard is not None:
            self.leader = Leader(server_id=leader or "other", epoch=0, term=1, heard=0.0)

    def age_s(self, index: int) -> float | None:
        assert index == self.index
        return self.heard

    def since_start_s(self) -> float:
        return 3.0


def contact_of(seen: Seen, progress: Round | None = None) -> tuple[bool, int]:
    request = Request("GET", PATH, PATH.encode(), b"", [])
    request.progress = progress
    return contact(seen, request)  # type: ignore[arg-type]


def test_confirmed_read_of_a_follower_is_as_current_as_one_of_the_leader():
    confirmed = Round(1, 0.0)
    assert contact_of(Seen(leader="other", heard=0.075), confirmed) == (True, 0)
    assert contact_of(Seen(leader="", heard=9.0), confirmed) == (False, 0)


def test_contact_is_zero_at_the_leader_and_the_time_since_its_hello_elsewhere():
    assert contact_of(Seen(leads=True)) == (True, 0)
    assert contact_of(Seen(leader="other", heard=0.075)) == (True, 75_000_000)
    assert contact_of(Seen(leader="", heard=9.0)) == (False, 9_000_000_000)


def test_contact_before_any_leader_was_heard_is_as_old_as_the_server():
    known, age_ns = contact_of(Seen())
    assert (known, age_ns) == (False, 3_000_000_000)
    known, age_ns = contact_of(Seen(leader="me", heard=0.0))
    assert not known
    assert age_ns >= 3_000_000_000


def test_contact_before_the_age_of_memory_is_known_counts_from_its_last_commit():
    committed_ns = SystemClock().wall_ns() - 9_000_000_000
    known, age_ns = contact_of(Seen(leader="other", committed_ns=committed_ns))
    assert known
    assert 9_000_000_000 <= age_ns < 10_000_000_000
    known, age_ns = contact_of(Seen(committed_ns=committed_ns))
    assert not known
    assert 9_000_000_000 <= age_ns < 10_000_000_000


def test_age_of_a_commit_from_the_future_may_be_any():
    """The clock of who committed it, or ours, is wrong, and nobody knows by how much."""
    for ahead_s, expected_s in ((0.05, 3), (40, 86_400)):
        committed_ns = SystemClock().wall_ns() + int(ahead_s * 1_000_000_000)
        seen = Seen(leader="other", committed_ns=committed_ns)
        assert contact_of(seen) == (True, expected_s * 1_000_000_000)


async def test_stale_answer_has_its_greatest_age_in_a_header():
    async with confirmed() as site:
        site.leading.is_leader = False
        roster = site.here.server.roster
        heard = site.here.server.clock.monotonic() - 2.5
        leader = Leader(server_id="other", epoch=0, term=1, heard=heard, as_of=heard)
        roster.table = msgspec.structs.replace(roster.table, leader=leader)
        answer = site.now(f"{PATH}?stale")
        assert isinstance(answer, Response)
        headers = dict(answer.headers)
        assert headers[b"X-Nomad-Knownleader"] == b"true"
        assert 2_500 <= int(headers[b"X-Nomad-Lastcontact"]) < 3_500
        body = msgspec.json.decode(answer.body)
        assert body["KnownLeader"]
        assert 2_500_000_000 <= body["LastContact"] < 3_500_000_000


async def test_read_without_a_leader_is_refused_as_undone():
    async with confirmed() as site:
        site.leading.is_leader, site.leading.leader_id = False, ""
        response = await site.here.pipeline.answer(site.here.request("GET", PATH), NoBody())
        assert (response.status, response.body) == (500, b"No cluster leader")
        assert isinstance(response.undone, Error)


async def test_request_waits_until_tokens_are_loaded():
    async with confirmed() as site:
        server = site.here.server
        server.resolver._is_known = server.mirror.loaded.is_set
        server.mirror.loaded.clear()
        request = site.here.request("GET", "/v1/agent/members")
        assert site.now("/v1/agent/members") is None
        task = asyncio.ensure_future(site.here.pipeline.answer(request, NoBody()))
        await asyncio.sleep(0.05)
        assert not task.done()
        server.mirror.loaded.set()
        assert (await task).status == 200


async def test_stale_read_waits_until_memory_holds_something():
    async with confirmed() as site:
        loaded = site.here.server.mirror.loaded
        site.leading.is_leader = False
        loaded.clear()
        request = site.here.request("GET", f"{PATH}?stale")
        assert site.now(f"{PATH}?stale") is None
        task = asyncio.ensure_future(site.here.pipeline.answer(request, NoBody()))
        await asyncio.sleep(0.05)
        assert not task.done()
        loaded.set()
        assert (await task).status == 200


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{PATH}?cas=abc", b"Error parsing cas value: strconv.ParseUint: "),
        ("/v1/operator/autopilot/configuration?cas=-1", b"Error parsing cas value: "),
    ],
)
async def test_bad_cas_is_refused_at_once_without_a_leader(path: str, text: bytes):
    async with confirmed() as site:
        site.lose()
        body = b'{"SchedulerAlgorithm": "spread"}' if "scheduler" in path else b"{}"
        request = site.here.request("PUT", path)
        request.headers.append((b"content-length", b"%d" % len(body)))
        answer = await site.here.pipeline.answer(request, Given(body))
        assert (answer.status, answer.body[: len(text)]) == (400, text)
        assert site.alone.asked == 0
