"""/v1/agent/monitor: the log of this agent, as a stream."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.http.task import closing
from bellcow.api.route import Serve, route
from bellcow.api.routes.agent import BASE
from bellcow.api.routes.agent_host import must_name_this_server
from bellcow.errors import Code, Error, invalid
from bellcow.events import Level
from bellcow.gocompat.values import parse_bool
from bellcow.wire import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEARTBEAT_S = 10.0
RECHECK_S = 0.5  # after which a stream ends whose token has lost its right
_SHOWN = 64  # characters of a wrong value that its refusal repeats


@route(
    "GET, PUT, POST, DELETE",
    f"{BASE}/monitor",
    need=Need.AGENT_READ,
    serve=Serve.NAMED,
    reads=("log_level", "log_json", "plain", "node_id", "server_id"),
)
async def monitor(call: Call) -> Reply[None]:
    """Stream the log from now on: frames of JSON, or bare lines with `plain=true`."""
    level, as_json, plain = _monitor_parameters(call)
    lines = call.server.facts.log.follow(level, as_json=as_json, heartbeat_s=RECHECK_S)
    lines = _while_allowed(call, lines)
    if plain:
        return Reply(stream=_bare(lines), content_type="text/plain")
    return Reply(stream=_framed(lines), content_type="application/json")


def _monitor_parameters(call: Call) -> tuple[Level, bool, bool]:
    name = call.request.param("log_level") or "INFO"
    if name.upper() not in Level.__members__:
        raise invalid(f"Unknown log level: {name[:_SHOWN]}")
    as_json = _parsed(call, "log_json", "log json")
    plain = _parsed(call, "plain", "plain")
    node, server = call.request.param("node_id"), call.request.param("server_id")
    if node and server:
        raise invalid("Cannot target node and server simultaneously")
    must_name_this_server(call, Code.INVALID)
    if node:
        raise invalid(f"Unknown node {node[:128]}")
    return Level[name.upper()], as_json, plain


def _parsed(call: Call, name: str, words: str) -> bool:
    text = call.request.param(name) or "false"
    try:
        return parse_bool(text[:_SHOWN])
    except ValueError as error:
        raise invalid(f"Unknown option for {words}: {error}") from None


async def _while_allowed(call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines until the token loses its right; b"" after each ten seconds of silence."""
    silent_s = 0.0
    async with closing(lines):
        async for line in lines:
            if not _may_still_read(call):
                return
            silent_s = 0.0 if line else silent_s + RECHECK_S
            if line or silent_s >= HEARTBEAT_S:
                silent_s = 0.0
                yield line


def _may_still_read(call: Call) -> bool:
    try:
        return call.server.resolver.resolve(call.secret).allows(Need.AGENT_READ)
    except Error:
        return False  # the token is gone


async def _bare(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with closing(lines):
        async for line in lines:
            if line:
                yield line


async def _framed(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with closing(lines):
        async for line in lines:
            yield to_json({"Data": base64.b64encode(line).decode()}) if line else b"{}"
