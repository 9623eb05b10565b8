"""Blocking queries: when they are answered, and that they wait for nothing afterwards."""

from __future__ import annotations

import time

import pytest
from tests.support.http_wire import Wire
from tests.support.raw_http import get, running, until

from bellcow.api.http.blocking import BlockingQuery
from bellcow.api.message import Request, Response, Wait
from bellcow.state.waiting import Waiting


async def test_blocking_query_is_answered_when_its_table_changes():
    async with running() as site, site.connect() as client:
        await client.send(get("/wait"))
        await until(lambda: len(site.waiting) == 1)
        site.app.index = 2
        site.waiting.wake(["nodes"])
        assert (await client.answer()).headers[b"X-Nomad-Index"] == b"2"
        assert len(site.waiting) == 0
        assert await client.is_open()


async def test_blocking_query_waits_on_after_a_change_that_does_not_concern_it():
    async with running() as site, site.connect() as client:
        await client.send(get("/wait"))
        await until(lambda: len(site.waiting) == 1)
        site.waiting.wake(["jobs"])
        await until(lambda: len(site.app.asked) == 2 and len(site.waiting) == 1)
        site.app.index = 2
        site.waiting.wake(["jobs"])
        assert (await client.answer()).status == 200


async def test_blocking_query_is_answered_with_the_present_state_at_its_deadline():
    # The time for headers runs from the connection on. The query waits for longer than that; the
    # time is long enough for a busy machine to send the headers in it.
    async with running(header_s=1.0) as site, site.connect() as client:
        began = time.monotonic()
        answer = await client.get("/wait?wait=1.2")
        assert time.monotonic() - began > 1.19
        assert answer.headers[b"X-Nomad-Index"] == b"1"
        assert len(site.waiting) == 0
        assert await client.is_open()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_lost_connection_waits_no_longer(how: str):
    async with running() as site, site.connect() as client:
        await client.send(get("/wait"))
        await until(lambda: len(site.waiting) == 1)
        client.reset() if how == "reset" else client.writer.close()
        await until(lambda: len(site.waiting) == 0)
        assert site.events == []


async def test_requests_behind_a_blocking_query_are_answered_after_it():
    async with running() as site, site.connect() as client:
        await client.send(get("/wait") + get("/json") + get("/slow"))
        await until(lambda: len(site.waiting) == 1)
        site.app.index = 2
        site.waiting.wake(["jobs"])
        bodies = [(await client.answer()).body for _ in range(3)]
        assert bodies == [b"[]", b'{"a":1}', b"GET /slow"]


@pytest.mark.parametrize("behind", [0, 2])
async def test_woken_query_is_answered_by_a_task_if_the_fast_path_cannot(behind: int):
    async with running() as site, site.connect() as client:
        await client.send(get("/wait/task") + get("/json") * behind)
        await until(lambda: len(site.waiting) == 1)
        site.app.index = 2
        site.waiting.wake(["jobs"])
        assert (await client.answer()).body == b"GET /wait/task"
        for _ in range(behind):
            assert (await client.answer()).body == b'{"a":1}'
        assert await client.is_open()


class Asker:
    """A connection with one blocking query. It records the calls of the query."""

    def __init__(self, *answers: Response | Wait | None, brief: bool = False) -> None:
        self.answers = list(answers)
        self.lasts: list[bool] = []
        self.waits: list[float] = []
        self.got: list[Response | None] = []
        self.parting = False
        self.transport = Wire()
        self.waiting = Waiting()
        self.query = BlockingQuery(self, self, REQUEST, Wait(("jobs",), 5.0, brief=brief))
        self.query.begin()

    def ask(self, request: Request, *, last: bool) -> Response | Wait | None:
        assert request is REQUEST
        self.lasts.append(last)
        return self.answers.pop(0)

    def on_wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def on_answer(self, request: Request, answer: Response | None) -> None:
        assert request is REQUEST
        self.got.append(answer)


REQUEST = Request("GET", "/v1/x", b"/v1/x", b"", [])
ANSWER = Response(200, [])


def test_query_that_is_not_answered_waits_for_the_newly_given_tables():
    asker = Asker(Wait(("nodes",), 3.0), ANSWER)
    asker.waiting._sets.clear()  # as `Waiting.wake` does before it wakes
    asker.query.wake()
    assert (asker.waits, asker.got) == ([5.0, 3.0], [])
    assert (asker.waiting.has("jobs"), asker.waiting.has("nodes")) == (False, True)
    asker.query.stop()
    assert (asker.got, asker.lasts) == ([ANSWER], [False, True])
    assert len(asker.waiting) == 0


def test_ended_query_is_not_woken_again():
    asker = Asker(ANSWER)
    asker.query.stop()
    asker.query.wake()
    assert asker.got == [ANSWER]


def test_brief_query_is_not_hurried():
    asker = Asker(ANSWER, brief=True)
    asker.query.hurry()
    assert (asker.got, len(asker.waiting)) == ([], 1)


def test_query_of_a_parting_client_waits_only_once():
    asker = Asker(Wait(("jobs",), 3.0), ANSWER)
    asker.parting = True
    asker.query.wake()
    assert (asker.got, asker.lasts) == ([ANSWER], [False, True])


def test_query_of_a_closing_connection_is_not_answered():
    asker = Asker(ANSWER)
    asker.transport.close()
    asker.query.wake()
    assert asker.lasts == []


def test_forgotten_query_is_in_no_set_and_is_not_answered():
    asker = Asker(ANSWER)
    asker.query.forget()
    asker.query.wake()
    assert (asker.lasts, len(asker.waiting)) == ([], 0)


def test_query_that_the_app_cannot_answer_now_goes_to_a_task():
    asker = Asker(None)
    asker.query.stop()
    assert asker.got == [None]
