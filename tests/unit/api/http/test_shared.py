"""Faults of the app, and mistakes of clients that are logged once a second."""

from __future__ import annotations

import pytest
from tests.support.raw_http import running


@pytest.mark.parametrize(("path", "open_after"), [("/boom", True), ("/fault", False)])
async def test_fault_in_a_handler_is_a_plain_500_and_one_event(path: str, open_after: bool):
    async with running() as site, site.connect() as client:
        answer = await client.get(path)
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert site.names() == ["http_request_failed"]
        if open_after:
            assert await client.is_open()
        else:
            assert await client.rest() == b""


async def test_invalid_requests_are_logged_once_a_second_an_address():
    async with running() as site:
        for _ in range(5):
            async with site.connect() as client:
                await client.send(b"hello there\r\n\r\n")
                assert (await client.answer()).status == 400
        assert site.names() == ["http_request_refused"]
