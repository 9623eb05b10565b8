"""Two servers over loopback: one leads, the other is asked. What comes back is the leader's."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import re
import resource
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from tests.sim.net import FOLLOWER, itself
from tests.support.http_here import Here, here
from tests.support.raw_http import connected, get, request, until
from tests.support.wires import KEY, client_of, keyed

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.http.server import bind, serve
from bellcow.api.internal import forward
from bellcow.api.internal.gate import LIMITS, Gate, Internal
from bellcow.api.message import Request
from bellcow.api.pipeline.guards import Guards
from bellcow.api.pipeline.pipeline import Pipeline
from bellcow.api.route import Route, Serve
from bellcow.api.routes import catalog
from bellcow.clock import SystemClock
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Contact, Known
from bellcow.cluster.transport.forward import Forwarder
from bellcow.cluster.transport.frames import Decoder, whole
from bellcow.errors import Code, Error, no_leader, refused
from bellcow.model.forwarded import LAST_HOP, Ask
from bellcow.model.forwarded import Answer as Carried
from bellcow.model.hello import Record
from bellcow.model.membership_calls import FORWARD_PATH, decode, encode
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.support.raw_http import Answer, Client

SCHEDULER = "/v1/operator/scheduler/configuration"
LEADER = "id-leader"


def with_changed(server: Any, **parts: object) -> Any:
    changed = copy.copy(server)
    for name, value in parts.items():
        object.__setattr__(changed, name, value)
    return changed


class Elsewhere:
    """The leadership of a server that follows. `leader_id` is whom it takes for the leader."""

    is_leader = False
    epoch = 1

    def __init__(self) -> None:
        self.leader_id = LEADER

    async def wait_for_leader(self) -> None:
        if not self.leader_id:
            raise no_leader()


class Handled:
    """Routes of this test, and what their handlers saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failures: list[Exception] = []
        self.received = 0
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()

    def routes(self) -> list[Route]:
        return [
            self._route("PUT", "/v1/test/write", self.write),
            self._route("GET", "/v1/test/read", self.read),
            self._route("PUT", "/v1/operator/snapshot", self.upload),
            self._route("GET", "/v1/test/endless", self.endless),
            self._route("GET", "/v1/test/large", self.large),
            self._route("GET", "/v1/test/monitor", self.monitor, serve=Serve.NAMED),
        ]

    @staticmethod
    def _route(
        method: str, path: str, handler: Callable[..., Any], serve: Serve = Serve.LEADER
    ) -> Route:
        return Route(
            method=method,
            path=path,
            need=Need.ANONYMOUS,
            serve=serve,
            handler=handler,
            summary="",
            awaits=True,
            body=bytes if path == "/v1/test/write" else None,
            token=False,
        )

    async def write(self, call: Call, body: bytes) -> Reply[None]:
        self.seen.append(f"{call.request.client} {body.decode()}")
        if self.failures:
            raise self.failures.pop(0)
        return Reply(text="written", index=7)

    async def read(self, call: Call) -> Reply[None]:
        self.seen.append("read")
        if self.failures:
            raise self.failures.pop(0)
        return Reply(text="read " * 100)

    async def upload(self, call: Call) -> None:
        async for piece in call.content.chunks():
            self.received += len(piece)
            self.begun.set()
            if self.failures:
                raise self.failures.pop(0)

    async def endless(self, call: Call) -> Reply[None]:
        async def stream() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(65_536)
            finally:
                self.closed.set()

        return Reply(stream=stream(), content_type="text/plain")

    async def large(self, call: Call) -> Reply[None]:
        return Reply(text="x" * 3_000_000)

    async def monitor(self, call: Call) -> Reply[None]:
        return Reply(text=call.server.settings.name + " " + call.request.param("server_id"))


class Pair(NamedTuple):
    leader: Here
    handled: Handled
    front: Here
    following: Elsewhere
    client: Client  # asks the one that follows
    direct: Client  # asks the leader
    stop_leader: Callable[[], Coroutine[Any, Any, None]]
    between: int  # the leader's port between servers


@contextlib.asynccontextmanager
async def pair(*, key: bytes = b"", acl: bool = False) -> AsyncIterator[Pair]:
    clock = SystemClock()
    handled = Handled()
    async with (
        asyncio.timeout(20),
        here(acl=acl) as back,
        here(acl=acl) as front,
        contextlib.AsyncExitStack() as stack,
    ):
        guards = Guards(loopback_only=True, names=["test"])
        pipeline = Pipeline(back.server, guards, [*nouns_but_snapshots(), *handled.routes()])
        made = keyed(key) if key else None
        gate = made.gate if made else Gate(region="global")
        table = forward.routes(pipeline, gate)
        listener, web = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
        port, web_port = listener.getsockname()[1], web.getsockname()[1]
        options: dict[str, Any] = {"waiting": Waiting(), "log": silent, "graceful_s": 0.0}
        app = Internal(table, gate, clock, silent)
        between = await stack.enter_async_context(contextlib.AsyncExitStack())
        await between.enter_async_context(
            serve(app, [listener], limits=LIMITS, ssl_context=made and made.serve_with, **options)
        )
        await stack.enter_async_context(serve(pipeline, [web], **options))
        line = await stack.enter_async_context(client_of(key))
        following = Elsewhere()
        servers = {LEADER: "leader:4647"}
        forwarder = Forwarder(line, roster_with(port), lambda: following.leader_id, lambda: servers)
        changed = with_changed(front.server, leadership=following, forwarder=forwarder)
        front.pipeline._server = changed
        front.pipeline._paths = pipeline._paths
        front.pipeline._guards = guards
        yield Pair(
            back,
            handled,
            front,
            following,
            await stack.enter_async_context(connected(front.port)),
            await stack.enter_async_context(connected(web_port)),
            between.aclose,
            port,
        )


def nouns_but_snapshots() -> list[Route]:
    return [each for each in catalog.routes() if each.path != "/v1/operator/snapshot"]


def roster_with(port: int) -> Roster:
    """Knows the leader, which lives in region west under another name too."""
    roster = Roster(itself("front"), SystemClock())
    known, contacts = {}, {}
    for server_id, name, region in ((LEADER, "leader", "global"), ("id-west", "west", "west")):
        me = itself(name, region, server_id=server_id, serf=("127.0.0.1", port))
        record = Record(itself=me, start_ns=0, status="alive", status_seq=0)
        known[server_id] = Known(record, 0.0)
        contacts[server_id] = Contact(answered=0.0, raft=FOLLOWER)
    roster.table = msgspec.structs.replace(roster.table, known=known, contacts=contacts)
    return roster


def silent(event: str, /, **fields: object) -> None:
    del event, fields


async def put(client: Client, path: str, body: bytes, *lines: str) -> Answer:
    await client.send(request("PUT", path, *lines, body=body))
    return await client.answer()


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize(
    "lines", [(), ("Accept-Encoding: gzip",), ("X-Nomad-Token: abc", "Cookie: x=y")]
)
@pytest.mark.parametrize(
    "path",
    [
        SCHEDULER,
        f"{SCHEDULER}?pretty",
        f"{SCHEDULER}?index=abc",
        "/v1/namespaces",
        "/v1/namespace/%64efault",
        "/v1/namespace/missing",
        "/v1/acl/policies?index=abc",
        "/v1/test/read",
        "/v1/status/peers",
    ],
)
async def test_read_through_a_follower_is_byte_for_byte_that_of_the_leader(key, lines, path):
    async with pair(key=key) as servers:
        await servers.client.send(get(path, *lines))
        await servers.direct.send(get(path, *lines))
        through, direct = await servers.client.answer(), await servers.direct.answer()
        assert through.raw == direct.raw
        assert direct.status == {"missing": 404, "index=abc": 400}.get(
            path[-9:].split("/")[-1], 200
        )


ELSEWHERE = [
    each
    for each in catalog.routes()
    if each.serve in {Serve.LEADER, Serve.LEADER_OR_STALE, Serve.VOTER_OR_STALE}
]


def shown(answer: Answer) -> tuple[int, bytes]:
    """Status and body, without the numbers and ids that the next write changes."""
    body = answer.body.removeprefix(b"rpc error: ") if answer.status == 500 else answer.body
    return answer.status, re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]+", b"#", body)


async def test_follower_answers_every_route_as_the_leader_does():
    async with pair() as servers:
        different, asked = {}, []
        forwarder = servers.front.pipeline._server.forwarder
        send = forwarder.to_leader

        async def to_leader(ask: Ask, content: Any = None) -> Any:
            asked.append(f"{ask.method} {ask.target.decode()}")
            return await send(ask, content)

        forwarder.to_leader = to_leader  # type: ignore[method-assign]
        for route in ELSEWHERE:
            if route.path == "/v1/operator/snapshot":  # its bytes hold the time
                continue
            path = re.sub(r"\{\w+\}$", "nothing", route.path).removesuffix("*")
            body = b"{}" if route.body not in {None, bytes} else b""
            answers = []
            for client in (servers.client, servers.direct):
                await client.send(request(route.method, path, body=body))
                answers.append(shown(await client.answer()))
            if answers[0] != answers[1] or asked[-1:] != [f"{route.method} {path}"]:
                different[f"{route.method} {path}"] = answers
        assert different == {}
        assert len(ELSEWHERE) > 30


async def test_write_through_a_follower_carries_body_and_client_and_brings_the_index():
    async with pair() as servers:
        for body in (b"hello", b"", b"x" * 100_000):
            answer = await put(servers.client, "/v1/test/write", body)
            assert (answer.status, answer.body) == (200, b"written")
            assert answer.headers[b"X-Nomad-Index"] == b"7"
        assert servers.handled.seen == [
            "127.0.0.1 " + body for body in ("hello", "", "x" * 100_000)
        ]


async def forwarded(servers: Pair, key: bytes, method: str, target: str, *lines: str) -> Answer:
    """What the leader's port between servers answers to a request said to come from 9.9.9.9."""
    told = [line.split(": ") for line in lines]
    ask = Ask(
        method=method,
        target=target.encode(),
        headers=tuple((name.lower().encode(), value.encode()) for name, value in told),
        client="9.9.9.9",
        hops=LAST_HOP,
    )
    trust = keyed(key).call_with if key else None
    if trust is not None:
        trust.check_hostname = False
    async with connected(servers.between, trust) as client:
        await client.send(request("POST", FORWARD_PATH, body=whole([encode(ask)])))
        return await client.answer()


@pytest.mark.parametrize(("key", "client"), [(b"", "127.0.0.1"), (KEY, "9.9.9.9")])
async def test_address_of_the_client_is_taken_from_a_proven_server_alone(key: bytes, client: str):
    async with pair(key=key) as servers:
        await forwarded(servers, key, "PUT", "/v1/test/write")
        assert servers.handled.seen == [f"{client} "]


async def test_guessed_tokens_that_are_forwarded_are_limited_too():
    async with pair(acl=True) as servers:
        servers.leader.server.bad_tokens.limit = 3
        guess = ("GET", "/v1/namespaces", f"X-Nomad-Token: {LEADER}")
        answers = [await forwarded(servers, b"", *guess) for _ in range(5)]
        assert [status_of(answer) for answer in answers] == [403] * 3 + [429] * 2


def status_of(answer: Answer) -> int:
    """Of the answer that travels in the first frame."""
    return decode(next(Decoder().feed(answer.body)), Carried).status


async def test_real_write_through_a_follower_is_in_the_tables_of_the_leader():
    async with pair() as servers:
        answer = await put(servers.client, SCHEDULER, b'{"SchedulerAlgorithm":"spread"}')
        assert answer.status == 200
        assert b'"spread"' in (await servers.direct.get(SCHEDULER)).body
        assert b'"binpack"' in (await servers.client.get(f"{SCHEDULER}?stale")).body


async def test_wrong_body_is_refused_by_the_server_in_front_without_a_leader():
    async with pair() as servers:
        servers.following.leader_id = ""
        answer = await put(servers.client, SCHEDULER, b"nope")
        assert answer.status == 400
        assert answer.body.startswith(b"Error parsing scheduler config: ")


async def test_token_is_checked_by_the_leader():
    async with pair(acl=True) as servers:
        answer = await servers.client.get(SCHEDULER)
        assert (answer.status, answer.body) == (403, b"Permission denied")
        booted = await put(servers.client, "/v1/acl/bootstrap", b"")
        secret = msgspec.json.decode(booted.body)["SecretID"]
        await servers.client.send(get(SCHEDULER, f"X-Nomad-Token: {secret}"))
        assert (await servers.client.answer()).status == 200


async def bootstrapped(servers: Pair) -> str:
    """A token that the leader knows and the server in front does not, as if it were behind."""
    booted = await put(servers.direct, "/v1/acl/bootstrap", b"")
    return str(msgspec.json.decode(booted.body)["SecretID"])


async def test_token_that_the_server_in_front_does_not_know_yet_writes():
    async with pair(acl=True) as servers:
        line = f"X-Nomad-Token: {await bootstrapped(servers)}"
        answer = await put(servers.client, SCHEDULER, b'{"SchedulerAlgorithm":"spread"}', line)
        assert (answer.status, b'"Updated":true' in answer.body) == (200, True)
        answer = await put(servers.client, SCHEDULER, b"nope", line)
        assert answer.status == 400
        large = b'{"X": "%s"}' % (b"x" * (1 << 20))
        assert (await put(servers.client, SCHEDULER, large, line)).status == 413


async def test_body_of_a_stranger_is_not_waited_for_by_the_server_in_front():
    async with pair(acl=True) as servers:
        await bootstrapped(servers)
        head = request("PUT", SCHEDULER, f"Content-Length: {1 << 20}")
        await servers.client.send(head + b"{")
        answer = await servers.client.answer()
        assert (answer.status, answer.body) == (403, b"Permission denied")


async def test_plain_error_of_the_leader_has_the_prefix_of_a_forwarded_one():
    async with pair() as servers:
        servers.handled.failures += [refused("no such thing"), Error(Code.CONFLICT, "busy")]
        answer = await put(servers.client, "/v1/test/write", b"x")
        assert (answer.status, answer.body) == (500, b"rpc error: no such thing")
        answer = await put(servers.client, "/v1/test/write", b"x")
        assert (answer.status, answer.body) == (409, b"busy")
        servers.handled.failures.append(refused("failed to restore"))
        answer = await put(servers.client, "/v1/operator/snapshot", b"x")
        assert (answer.status, answer.body) == (500, b"failed to restore")


async def test_write_refused_without_a_leader_is_tried_again_until_there_is_one():
    async with pair() as servers:
        servers.handled.failures += [no_leader(), no_leader()]
        answer = await put(servers.client, "/v1/test/write", b"again")
        assert (answer.status, answer.body) == (200, b"written")
        assert servers.handled.seen == ["127.0.0.1 again"] * 3


async def test_write_that_could_not_be_committed_is_tried_once_more():
    async with pair() as servers:
        servers.handled.failures += [Error(Code.UNAVAILABLE, "not done: full")] * 3
        answer = await put(servers.client, "/v1/test/write", b"x")
        assert (answer.status, answer.body) == (500, b"not done: full")
        assert len(servers.handled.seen) == 2


async def test_write_with_an_unknown_outcome_is_never_tried_again():
    async with pair() as servers:
        servers.handled.failures.append(Error(Code.UNKNOWN_OUTCOME, "outcome unknown: maybe"))
        answer = await put(servers.client, "/v1/test/write", b"x")
        assert (answer.status, answer.body) == (500, b"outcome unknown: maybe")
        assert len(servers.handled.seen) == 1


async def test_write_is_held_until_the_other_server_leads():
    async with pair() as servers:
        servers.following.leader_id = "id-nobody-knows"
        task = asyncio.ensure_future(put(servers.client, "/v1/test/write", b"x"))
        await asyncio.sleep(0.2)
        assert servers.handled.seen == []
        servers.following.leader_id = LEADER
        assert (await task).status == 200


async def test_blocking_query_that_waits_at_the_leader_ends_when_its_own_server_stops():
    async with pair() as servers:
        await servers.client.send(get("/v1/namespaces?index=1000000"))
        while not len(servers.leader.server.waiting):  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.01)
        servers.front.pipeline.stop()
        for wait in range(2):
            async with asyncio.timeout(1):
                answer = await servers.client.answer()
            assert (answer.status, b"this server is stopping" in answer.body) == (500, True), wait
            await servers.client.send(get("/v1/namespaces?index=1000000"))
        await servers.client.send(get("/v1/namespaces"))  # what does not wait is still carried
        await servers.client.answer()
        assert (await servers.client.answer()).status == 200


async def test_reload_of_headers_does_not_lose_the_queries_that_wait_at_the_leader():
    async with pair() as servers:
        await servers.client.send(get("/v1/namespaces?index=1000000"))
        await until(lambda: len(servers.leader.server.waiting) > 0)
        servers.front.pipeline.add_headers({"X-New": "1"})
        servers.front.pipeline.stop()
        async with asyncio.timeout(1):
            answer = await servers.client.answer()
        assert (answer.status, answer.headers[b"X-New"]) == (500, b"1")


@pytest.mark.slow
async def test_request_without_a_leader_ends_after_five_seconds():
    async with pair() as servers:
        servers.following.leader_id = "id-nobody-knows"
        loop = asyncio.get_running_loop()
        began = loop.time()
        await servers.client.send(request("PUT", "/v1/test/write", body=b"x"))
        with contextlib.suppress(TimeoutError):
            answer = await servers.client.answer()
            raise AssertionError(answer)
        answer = await servers.client.answer()
        assert (answer.status, answer.body) == (500, b"No cluster leader")
        assert 4.9 < loop.time() - began < 7


async def test_request_sent_on_does_not_go_further_than_the_server_it_was_sent_to():
    async with pair() as servers:
        # It knows who leads, and could reach it: the one that asked must ask there itself.
        forwarder = servers.front.pipeline._server.forwarder
        lost = with_changed(servers.leader.server, leadership=Elsewhere(), forwarder=forwarder)
        pipeline = Pipeline(lost, servers.front.pipeline._guards, servers.handled.routes())
        path = "/v1/test/write"
        asked = Request("PUT", path, path.encode(), b"", [], "1.2.3.4", hops=LAST_HOP)
        response = await pipeline.answer(asked, Nothing())
        assert response.undone is not None
        assert (response.status, response.undone.code) == (500, Code.NO_LEADER)
        assert servers.handled.seen == []


class Nothing:
    async def read(self, limit: int) -> bytes | None:
        return None


async def test_leader_lost_before_the_write_was_sent_is_looked_for_again():
    async with pair() as servers:
        await put(servers.client, "/v1/test/write", b"x")
        await servers.stop_leader()
        task = asyncio.ensure_future(put(servers.client, "/v1/test/write", b"y"))
        await asyncio.sleep(0.2)
        assert not task.done()
        servers.front.pipeline._server = servers.leader.server  # it has become the leader itself
        assert (await task).body == b"written"
        assert servers.handled.seen == ["127.0.0.1 x", "127.0.0.1 y"]


async def test_write_whose_connection_breaks_on_the_way_back_has_an_unknown_outcome():
    async with pair() as servers:
        stuck = asyncio.Event()

        async def write(call: Call, body: bytes) -> None:
            stuck.set()
            await asyncio.Event().wait()

        route = servers.handled._route("PUT", "/v1/test/write", write)
        servers.front.pipeline._paths._literal["/v1/test/write"]["PUT"] = route
        task = asyncio.ensure_future(put(servers.client, "/v1/test/write", b"x"))
        await stuck.wait()
        await servers.stop_leader()
        answer = await task
        assert answer.status == 500
        assert answer.body.startswith(b"outcome unknown: the write may or may not be done (")


async def test_region_is_reached_through_any_of_its_servers():
    async with pair() as servers:
        answer = await servers.client.get("/v1/operator/raft/configuration?region=nowhere")
        assert (answer.status, answer.body) == (500, b"No path to region")
        answer = await servers.client.get("/v1/agent/members?region=nowhere")
        assert answer.status == 200


async def test_request_for_a_region_is_served_there_as_a_local_one():
    async with pair() as servers:
        settings = msgspec.structs.replace(servers.leader.server.settings, region="west")
        # The server that listens is one of region west now.
        servers.leader.server.current.settings = settings
        answer = await put(servers.client, "/v1/test/write?region=west", b"x")
        assert (answer.status, answer.body) == (200, b"written")
        answer = await put(servers.client, "/v1/test/write?region=west&stale", b"y")
        assert answer.status == 200


async def test_named_server_answers_for_itself():
    async with pair() as servers:
        settings = msgspec.structs.replace(servers.leader.server.settings, name="the-leader")
        servers.leader.server.current.settings = settings
        for name in ("leader", LEADER, "leader.global"):
            answer = await servers.client.get(f"/v1/test/monitor?server_id={name}")
            assert answer.body == f"the-leader {name}".encode()
        for query in ("", "?server_id=", "?server_id=unknown"):
            answer = await servers.client.get(f"/v1/test/monitor{query}")
            assert not answer.body.startswith(b"the-leader")


async def test_large_answer_comes_whole():
    async with pair() as servers:
        answer = await servers.client.get("/v1/test/large")
        assert answer.body == b"x" * 3_000_000
        await servers.client.send(get("/v1/test/large", "Accept-Encoding: gzip"))
        packed = await servers.client.answer()
        assert gzip.decompress(packed.body) == answer.body


async def test_client_that_goes_away_ends_the_stream_at_the_leader():
    async with pair() as servers:
        await servers.client.send(get("/v1/test/endless"))
        await servers.client.reader.readexactly(1_000_000)
        servers.client.reset()
        async with asyncio.timeout(5):
            await servers.handled.closed.wait()


async def test_upload_is_seen_by_the_leader_while_it_comes():
    async with pair() as servers:
        lines = ("Transfer-Encoding: chunked",)
        await servers.client.send(request("PUT", "/v1/operator/snapshot", *lines))
        await servers.client.send(b"5\r\nhello\r\n")
        await until(lambda: servers.handled.received == 5)
        await servers.client.send(b"5\r\nworld\r\n0\r\n\r\n")
        assert (await servers.client.answer()).status == 200
        assert servers.handled.received == 10


async def test_upload_that_has_begun_is_not_tried_again():
    async with pair() as servers:
        servers.handled.failures.append(no_leader())
        answer = await put(servers.client, "/v1/operator/snapshot", b"x" * 10)
        assert (answer.status, answer.body) == (500, b"No cluster leader")
        assert servers.handled.received == 10


async def test_upload_that_the_client_breaks_off_does_not_reach_its_end():
    async with pair() as servers:
        ended = []

        async def upload(call: Call) -> None:
            servers.handled.begun.set()
            try:
                async for _ in call.content.chunks():
                    pass
            except BaseException as error:
                ended.append(error)
                raise

        route = servers.handled._route("PUT", "/v1/operator/snapshot", upload)
        servers.front.pipeline._paths._literal["/v1/operator/snapshot"]["PUT"] = route
        lines = ("Content-Length: 100",)
        await servers.client.send(request("PUT", "/v1/operator/snapshot", *lines) + b"half")
        await servers.handled.begun.wait()
        servers.client.reset()
        await until(lambda: len(ended) == 1)


@pytest.mark.slow
async def test_hundred_megabytes_go_through_in_flat_memory():
    async with pair() as servers:
        size, piece = 100 << 20, bytes(1 << 20)
        lines = (f"Content-Length: {size}",)
        await servers.client.send(request("PUT", "/v1/operator/snapshot", *lines))
        await servers.client.send(piece)
        await until(lambda: servers.handled.received > 0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(99):
            await servers.client.send(piece)
        assert (await servers.client.answer()).status == 200
        assert servers.handled.received == size
        await servers.client.send(get("/v1/test/endless"))
        for _ in range(100):
            await servers.client.reader.readexactly(1 << 20)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert after - before < 32 << 10  # kilobytes
