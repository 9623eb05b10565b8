"""Blocking queries: what they wait for, how long, and what wakes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness import Answer, exchange
from tests.support.http_here import Here, here

from bellcow.api.message import Wait
from bellcow.api.routes.catalog import routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RULES = 'operator { policy = "read" }'
SNAPSHOT = "/v1/operator/snapshot"
LISTS = ("/v1/acl/policies", "/v1/acl/tokens", "/v1/namespaces")


class Blocking:
    """A server with ACLs on, driven over its socket."""

    def __init__(self, server: Here) -> None:
        self.server = server
        self.root = ""

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> Answer:
        import json

        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        secret = self.root if token is None else token
        headers = {"X-Nomad-Token": secret} if secret else {}
        return await asyncio.to_thread(exchange, self.server.port, method, path, headers, sent)

    async def index(self, path: str, token: str | None = None) -> int:
        return int((await self.ask("GET", path, token=token)).header("X-Nomad-Index") or 0)

    async def start(self, path: str, *, above: int, wait: str = "30s", token: str | None = None):
        """A blocking query that is known to wait."""
        before = len(self.server.server.waiting)
        waiting = asyncio.get_running_loop().create_task(
            self.ask("GET", f"{path}?index={above}&wait={wait}", token=token)
        )
        async with asyncio.timeout(5):
            while len(self.server.server.waiting) == before:
                assert not waiting.done(), waiting.result()
                await asyncio.sleep(0.005)
        return waiting

    async def policy(self, name: str, rules: str = RULES) -> int:
        answer = await self.ask("PUT", f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules})
        assert answer.status == 200, answer
        return int(answer.header("X-Nomad-Index") or 0)

    async def token(self, *policies: str) -> Any:
        body = {"Type": "client", "Policies": policies}
        return (await self.ask("PUT", "/v1/acl/token", body)).json()

    async def namespace(self, name: str, description: str = "") -> int:
        body = {"Name": name, "Description": description}
        answer = await self.ask("PUT", "/v1/namespace", body)
        return int(answer.header("X-Nomad-Index") or 0)


@contextlib.asynccontextmanager
async def blocking() -> AsyncIterator[Blocking]:
    async with asyncio.timeout(60), here(acl=True) as server:
        out = Blocking(server)
        out.root = (await out.ask("PUT", "/v1/acl/bootstrap")).json()["SecretID"]
        yield out


async def still_waits(query: asyncio.Task[Answer]) -> bool:
    """Whether a query goes on after everything there was to wake it has run."""
    await asyncio.sleep(0.1)
    return not query.done()


def seconds(began: float) -> float:
    return time.monotonic() - began


# What an index means


@pytest.mark.parametrize("path", LISTS)
async def test_index_of_zero_or_below_the_present_answers_at_once(path):
    async with blocking() as server:
        await server.policy("p")
        await server.namespace("n")
        now = await server.index(path)
        assert now > 1
        for index in ("0", str(now - 1)):
            began = time.monotonic()
            answer = await server.ask("GET", f"{path}?index={index}&wait=20s")
            assert answer.status == 200
            assert seconds(began) < 5


@pytest.mark.parametrize("path", LISTS)
async def test_present_index_waits_and_ends_with_its_time_unchanged(path):
    async with blocking() as server:
        await server.namespace("n")
        plain = await server.ask("GET", path)
        now = plain.header("X-Nomad-Index")
        began = time.monotonic()
        answer = await server.ask("GET", f"{path}?index={now}&wait=400ms")
        # Prolonged by up to a sixteenth, and by what a busy machine takes.
        assert 0.4 <= seconds(began) < 3
        assert answer.status == 200
        assert answer.body == plain.body
        for name in ("X-Nomad-Index", "X-Nomad-KnownLeader", "X-Nomad-LastContact"):
            assert answer.header(name) == plain.header(name) is not None


async def test_index_ahead_of_the_present_waits_until_it_is_passed():
    async with blocking() as server:
        now = await server.policy("p")
        query = await server.start("/v1/acl/policies", above=now + 2)
        await server.policy("p1")
        assert await still_waits(query)
        await server.policy("p2")
        assert await still_waits(query)
        last = await server.policy("p3")
        answer = await query
        assert answer.header("X-Nomad-Index") == str(last) == str(now + 3)
        assert len(answer.json()) == 4


async def test_one_object_waits_for_its_own_index_alone():
    async with blocking() as server:
        mine = await server.policy("mine")
        query = await server.start("/v1/acl/policy/mine", above=mine)
        await server.policy("another")
        assert await still_waits(query)
        changed = await server.policy("mine", "")
        answer = await query
        assert answer.json()["Rules"] == ""
        assert answer.header("X-Nomad-Index") == str(changed)


async def test_write_to_another_table_wakes_no_query():
    async with blocking() as server:
        now = await server.index("/v1/namespaces")
        query = await server.start("/v1/namespaces", above=now, wait="700ms")
        await server.policy("p")
        await server.ask("PUT", "/v1/operator/scheduler/configuration", {})
        assert await still_waits(query)
        assert (await query).header("X-Nomad-Index") == str(now)


# What wakes


async def write_policy(server: Blocking) -> None:
    await server.policy("woken")


async def delete_policy(server: Blocking) -> None:
    await server.ask("DELETE", "/v1/acl/policy/there")


async def make_token(server: Blocking) -> None:
    await server.token("there")


async def write_namespace(server: Blocking) -> None:
    await server.namespace("woken")


async def delete_namespace(server: Blocking) -> None:
    await server.ask("DELETE", "/v1/namespace/there")


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/v1/acl/policies", write_policy),
        ("/v1/acl/policies", delete_policy),
        ("/v1/acl/policy/woken", write_policy),
        ("/v1/acl/policy/there", delete_policy),
        ("/v1/acl/tokens", make_token),
        ("/v1/namespaces", write_namespace),
        ("/v1/namespaces", delete_namespace),
        ("/v1/namespace/woken", write_namespace),
        ("/v1/namespace/there", delete_namespace),
    ],
)
async def test_write_or_deletion_wakes(path, change):
    async with blocking() as server:
        await server.policy("there")
        await server.namespace("there")
        now = await server.index(path)
        query = await server.start(path, above=max(1, now))
        began = time.monotonic()
        await change(server)
        answer = await query
        assert seconds(began) < 5
        assert int(answer.header("X-Nomad-Index") or 0) > now
        assert answer.body == (await server.ask("GET", path)).body


async def test_token_read_wakes_when_the_token_changes():
    async with blocking() as server:
        await server.policy("p")
        token = await server.token("p")
        path = f"/v1/acl/token/{token['AccessorID']}"
        query = await server.start(path, above=token["ModifyIndex"])
        await server.token("p")
        assert await still_waits(query)
        await server.ask("PUT", path, {**token, "Name": "changed"})
        assert (await query).json()["Name"] == "changed"


@pytest.mark.parametrize("path", LISTS)
async def test_restore_wakes(path):
    async with blocking() as server:
        await server.policy("there")
        await server.namespace("there")
        archive = (await server.ask("GET", SNAPSHOT)).body
        await server.policy("gone")
        await server.namespace("gone")
        await server.token("gone")
        now = await server.index(path)
        query = await server.start(path, above=now)
        restored = await server.ask("PUT", SNAPSHOT, archive)
        assert restored.status == 200, restored
        answer = await query
        assert answer.status == 200
        assert b"gone" not in answer.body
        assert int(answer.header("X-Nomad-Index") or 0) > now


async def test_index_never_falls_below_that_of_a_restore():
    async with blocking() as server:
        first = await server.policy("there")
        archive = (await server.ask("GET", SNAPSHOT)).body
        for number in range(5):
            await server.policy(f"later-{number}")
        highest = await server.policy("there")
        await server.ask("PUT", SNAPSHOT, archive)
        shown = await server.ask("GET", "/v1/acl/policy/there")
        assert shown.json()["ModifyIndex"] == first
        # A client that had seen the highest index must see the restore as something new.
        for path in (
            "/v1/acl/policies",
            "/v1/acl/policy/there",
            "/v1/acl/policy/none",
            "/v1/acl/tokens",
            "/v1/acl/token/self",
            "/v1/namespaces",
            "/v1/namespace/default",
            "/v1/namespace/none",
            "/v1/jobs",
            "/v1/nodes",
            "/v1/operator/scheduler/configuration",
        ):
            assert await server.index(path) > highest, path
        scheduler = await server.ask("GET", "/v1/operator/scheduler/configuration")
        assert scheduler.json()["Index"] > highest
        assert await server.policy("next") > highest + 1


# Lists that nothing changes yet

EMPTY_LISTS = (
    "/v1/allocations",
    "/v1/deployments",
    "/v1/evaluations",
    "/v1/jobs",
    "/v1/nodes",
    "/v1/plugins",
    "/v1/scaling/policies",
    "/v1/volumes",
)


async def test_an_empty_list_of_the_job_side_waits_for_its_whole_time():
    async with blocking() as server:

        async def waited(path: str) -> float:
            began = time.monotonic()
            answer = await server.ask("GET", f"{path}?index=1&wait=400ms")
            assert (answer.status, answer.text) == (200, "[]"), path
            assert answer.header("X-Nomad-KnownLeader") == "true"
            return seconds(began)

        times = await asyncio.gather(*map(waited, EMPTY_LISTS))
        assert min(times) >= 0.4


async def test_an_empty_list_does_not_wait_for_an_index_that_it_has():
    async with blocking() as server:
        for path in EMPTY_LISTS:
            began = time.monotonic()
            assert (await server.ask("GET", f"{path}?index=0&wait=30s")).text == "[]"
            assert seconds(began) < 5, path


async def test_a_restore_ends_the_wait_for_an_empty_list():
    async with blocking() as server:
        archive = (await server.ask("GET", SNAPSHOT)).body
        paths = ("/v1/jobs", "/v1/nodes", "/v1/plugins")
        queries = [await server.start(path, above=1) for path in paths]
        await server.ask("PUT", SNAPSHOT, archive)
        for query in queries:
            answer = await query
            assert (answer.status, answer.text) == (200, "[]")
            assert int(answer.header("X-Nomad-Index") or 0) > 1


# Rights while waiting


async def test_deleted_token_ends_its_query_with_a_refusal():
    async with blocking() as server:
        await server.policy("p")
        token = await server.token("p")
        now = await server.index("/v1/acl/policies")
        query = await server.start("/v1/acl/policies", above=now, token=token["SecretID"])
        await server.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}")
        await server.policy("another")
        answer = await query
        assert (answer.status, answer.text) == (403, "ACL token not found")


async def test_deleted_token_ends_its_query_within_a_second():
    async with blocking() as server:
        await server.policy("p", 'namespace "default" { policy = "read" }')
        for path in ("/v1/acl/policies", "/v1/namespaces"):
            token = await server.token("p")
            secret = token["SecretID"]
            query = await server.start(path, above=99_999, token=secret)
            began = time.monotonic()
            await server.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}")
            answer = await query
            assert seconds(began) < 1
            assert (answer.status, answer.text) == (403, "ACL token not found")


async def test_lost_right_is_noticed_before_the_answer():
    async with blocking() as server:
        await server.policy("p", 'namespace "default" { policy = "read" }')
        secret = (await server.token("p"))["SecretID"]
        path = "/v1/namespace/default"
        query = await server.start(path, above=await server.index(path), token=secret)
        await server.policy("p", 'namespace "default" { policy = "deny" }')
        await server.namespace("default", "changed")
        answer = await query
        assert (answer.status, answer.text) == (403, "Permission denied")


async def test_end_of_the_wait_checks_the_token_as_well():
    async with blocking() as server:
        await server.policy("p", 'namespace "default" { policy = "read" }')
        token = await server.token("p")
        now = await server.index("/v1/namespaces")
        query = await server.start(
            "/v1/namespaces", above=now, wait="500ms", token=token["SecretID"]
        )
        await server.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}")
        assert (await query).status == 403


# How long, without waiting for it


def waits(target: str) -> list[float]:
    """The seconds that a query is told to wait, many times over."""

    async def ask() -> list[float]:
        async with here() as server:
            out = []
            for _ in range(300):
                found = server.pipeline.answer_now(server.request("GET", target))
                assert isinstance(found, Wait)
                out.append(found.seconds)
            return out

    return asyncio.run(ask())


@pytest.mark.parametrize("wait", ["", "&wait=300s", "&wait=99999h", "&wait=0s", "&wait=10m"])
def test_wait_is_300_seconds_at_most_and_when_none_is_given(wait):
    found = waits(f"/v1/namespaces?index=99999999{wait}")
    assert min(found) > 299.9
    assert max(found) <= 300 * 17 / 16


def test_wait_is_prolonged_by_up_to_a_sixteenth_at_random():
    found = waits("/v1/namespaces?index=99999999&wait=160s")
    assert 159.9 < min(found) < 162
    assert 168 < max(found) <= 170
    assert len(set(found)) > 100


def test_negative_wait_does_not_wait():
    assert max(waits("/v1/namespaces?index=99999999&wait=-5s")) == 0


async def test_deadline_stays_while_a_query_continues_to_wait():
    async with here() as server:
        request = server.request("GET", "/v1/namespaces?index=99999999&wait=60s")
        first = server.pipeline.answer_now(request)
        await asyncio.sleep(0.05)
        second = server.pipeline.answer_now(request)
        assert isinstance(first, Wait)
        assert isinstance(second, Wait)
        assert second.seconds < first.seconds


def test_routes_that_watch_a_table_are_those_that_the_documents_list():
    blocks = {route.path for route in routes() if route.watch}
    assert blocks == {
        "/v1/acl/policies",
        "/v1/acl/policy/{name}",
        "/v1/acl/tokens",
        "/v1/acl/token/{accessor}",
        "/v1/namespaces",
        "/v1/namespace/{name}",
        *EMPTY_LISTS,
        "/v1/allocation/{id}",
        "/v1/deployment/{id}",
        "/v1/evaluation/{id}",
        "/v1/job/{id}",
        "/v1/node/{id}",
        "/v1/plugin/csi/{id}",
        "/v1/scaling/policy/{id}",
        "/v1/volume/csi/{id}",
    }


@pytest.mark.parametrize("path", ["/v1/acl/token/self", "/v1/status/leader", "/v1/regions"])
async def test_other_reads_do_not_block(path):
    async with blocking() as server:
        began = time.monotonic()
        answer = await server.ask("GET", f"{path}?index=99999999&wait=20s")
        assert answer.status == 200
        assert seconds(began) < 5


def test_stop_answers_waiting_queries(start_agent):
    agent = start_agent()
    answers: list[Answer] = []

    async def test() -> None:
        now = agent.get("/v1/namespaces").header("X-Nomad-Index")
        query = asyncio.get_running_loop().create_task(
            asyncio.to_thread(agent.get, f"/v1/namespaces?index={now}&wait=60s")
        )
        gauge = "nomad.nomad.blocking_queries"
        waits = False
        while not waits:
            rows = (await asyncio.to_thread(agent.get, "/v1/metrics")).json()["Gauges"]
            waits = any(row["Name"] == gauge and row["Value"] for row in rows)
        await asyncio.to_thread(agent.stop)
        answers.append(await query)

    asyncio.run(test())
    assert answers[0].status == 200
    assert answers[0].json()[0]["Name"] == "default"
