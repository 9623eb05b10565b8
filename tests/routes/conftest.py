"""One real server in this process, on a store in memory, spoken to without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
from tests.support.http_here import leading

from bellcow.acl.rights import Need
from bellcow.api.http.asgi import asgi
from bellcow.api.message import Request
from bellcow.api.pipeline.guards import Guards
from bellcow.api.pipeline.pipeline import Pipeline
from bellcow.api.routes import catalog
from bellcow.config.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bellcow.api.message import Response, Wait
    from bellcow.server import Server

# The least that a policy must say for each right.
RULES = {
    Need.ANONYMOUS: 'plugin { policy = "list" }',
    Need.AGENT_READ: 'agent { policy = "read" }',
    Need.AGENT_WRITE: 'agent { policy = "write" }',
    Need.NODE_READ: 'node { policy = "read" }',
    Need.NODE_WRITE: 'node { policy = "write" }',
    Need.OPERATOR_READ: 'operator { policy = "read" }',
    Need.OPERATOR_WRITE: 'operator { policy = "write" }',
    Need.SNAPSHOT_SAVE: 'operator { capabilities = ["snapshot-save"] }',
    Need.LICENSE_READ: 'operator { capabilities = ["license-read"] }',
}


class NoBody:
    """The body of a request that has none."""

    async def read(self, limit: int) -> bytes | None:
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        for nothing in ():
            yield nothing


class Running:
    """A server that leads, and one token for each right. `tokens` holds their secrets."""

    def __init__(self, path: str) -> None:
        self._runner = asyncio.Runner()
        self._ended = asyncio.Event()
        self.server = self._runner.run(self._start(path))
        guards = Guards(loopback_only=True, names={self.server.roster.itself.name})
        self.pipeline = Pipeline(self.server, guards, catalog.routes())
        transport = httpx.ASGITransport(asgi(self.pipeline))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        self.tokens = self._make_tokens()

    async def _start(self, path: str) -> Server:
        """The running server. One task enters and leaves its context: task groups need that."""
        started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            try:
                async with leading(load([path], {}, dev=True, environment={})) as server:
                    started.set_result(server)
                    await self._ended.wait()
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                raise

        self._life = asyncio.create_task(live())
        return await started

    def _make_tokens(self) -> dict[Need, str]:
        tokens = {Need.MANAGEMENT: self.ask("PUT", "/v1/acl/bootstrap").json()["SecretID"]}
        for need, rules in RULES.items():
            name = need.value.replace(":", "-")
            root = {"token": tokens[Need.MANAGEMENT]}
            self.ask("PUT", f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules}, **root)
            body = {"Name": name, "Type": "client", "Policies": [name]}
            tokens[need] = self.ask("PUT", "/v1/acl/token", body, **root).json()["SecretID"]
        return tokens

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request; a dict as body is sent as JSON."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        sent = {**({"X-Nomad-Token": token} if token else {}), **(headers or {})}
        request = self._client.request(method, path, content=content, headers=sent)
        return self._runner.run(request)

    def request(self, method: str, path: str, *, token: str = "") -> Request:
        """A request as the protocol makes it, its path exactly as given."""
        raw_path, _, query = path.encode().partition(b"?")
        headers = [(b"host", b"localhost"), (b"x-nomad-token", token.encode())]
        return Request(method, unquote(raw_path.decode()), raw_path, query, headers, "127.0.0.1")

    def answer_now(self, request: Request) -> Response | Wait | None:
        """What the path that may not await says."""

        async def ask() -> Response | Wait | None:
            return self.pipeline.answer_now(request)

        return self._runner.run(ask())

    def answer(self, request: Request) -> Response:
        """What the path that may await says to a request without a body."""
        return self._runner.run(self.pipeline.answer(request, NoBody()))

    def stop(self) -> None:
        async def end() -> None:
            self._ended.set()
            await self._life
            await self._client.aclose()

        self._runner.run(end())
        self._runner.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A leading server with ACLs on; tests of one module share it and leave it as it was."""
    path: Path = tmp_path_factory.mktemp("routes") / "agent.json"
    path.write_text('{"acl": {"enabled": true}, "limits": {"http_max_bad_tokens": 0}}')
    running = Running(str(path))
    yield running
    running.stop()
