"""Connections over a limit get a 429 and the others go on."""

from __future__ import annotations

import contextlib

from tests.support.raw_http import running, until


async def test_connections_over_the_limit_of_an_address_get_a_429():
    async with running(connections_per_client=3) as site:
        async with contextlib.AsyncExitStack() as stack:
            first = [await stack.enter_async_context(site.connect()) for _ in range(3)]
            assert all([await client.is_open() for client in first])
            for _ in range(3):
                extra = await stack.enter_async_context(site.connect())
                answer = await extra.answer()
                assert answer.status == 429
                assert b"3 are allowed" in answer.body
                assert await extra.rest() == b""
                extra.writer.close()
            assert all([await client.is_open() for client in first])
            assert site.names() == ["http_too_many_connections"]
            first[0].writer.close()
            await until(lambda: site.listener._shared.clients.open == 2)
        async with site.connect() as client:
            await until(lambda: True)
            assert await client.is_open()


async def test_connections_over_the_limit_in_all_get_a_429():
    async with (
        running(connections=2, connections_per_client=0) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        first = [await stack.enter_async_context(site.connect()) for _ in range(2)]
        assert all([await client.is_open() for client in first])
        for _ in range(3):
            async with site.connect() as extra:
                answer = await extra.answer()
                assert (answer.status, b"allows 2" in answer.body) == (429, True)
                assert await extra.rest() == b""
        assert site.names() == ["http_too_many_connections"]
        clients = site.listener._shared.clients
        assert (clients.open, clients.refused, clients.full) == (2, 3, True)
        first[0].writer.close()
        await until(lambda: not clients.full)
        async with site.connect() as client:
            assert await client.is_open()
