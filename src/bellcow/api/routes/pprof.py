"""/v1/agent/pprof: the command line of the process.

Profiles are those of the Go runtime, which this program does not have.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import INVALID_METHOD, Serve, route
from bellcow.api.routes.agent_host import must_allow_debugging, must_ask_this_agent
from bellcow.api.routes.host_redaction import REDACTED, is_secret_name, is_secret_value
from bellcow.errors import Code, Error, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Source: runtime/pprof of Go, and the two that /v1/agent/pprof has besides.
GO_PROFILES = frozenset(
    {"allocs", "block", "goroutine", "heap", "mutex", "profile", "threadcreate", "trace"}
)
SHOWN_CHARS = 64
HEADERS = (("X-Content-Type-Options", "nosniff"),)


@route(
    "GET",
    "/v1/agent/pprof/{profile}",
    need=Need.AGENT_WRITE,
    right="agent:write; without ACLs enable_debug",
    serve=Serve.NAMED,
    reads=("node_id", "server_id"),
)
async def read_profile(call: Call) -> Reply[None]:
    """The command line with `cmdline`; profiles of the Go runtime are refused.

    Raises:
        not_found: there is no such profile.
        invalid: the request names a client node and a server.
        Error: NOT_IMPLEMENTED, it is a profile of the Go runtime.
    """
    must_allow_debugging(call)
    if not call.tail:
        raise not_found(INVALID_METHOD)
    if call.request.param("node_id") and call.request.param("server_id"):
        raise invalid("Cannot target node and server simultaneously")
    must_ask_this_agent(call)
    if call.tail in GO_PROFILES:
        raise Error(
            Code.NOT_IMPLEMENTED,
            f'"{call.tail}" is a profile of the Go runtime, which this server does not run on',
        )
    if call.tail != "cmdline":
        raise not_found(f"Pprof profile not found profile: {call.tail[:SHOWN_CHARS]}")
    text = "\0".join(without_secrets(sys.argv))
    return Reply(
        encoded=text.encode("utf-8", "replace"),
        content_type="text/plain; charset=utf-8",
        headers=HEADERS,
    )


def without_secrets(words: Sequence[str]) -> Iterator[str]:
    """The command line, with the values of flags that look like secrets redacted."""
    hide = False
    for word in words:
        name, equals, _ = word.partition("=")
        if hide and not word.startswith("-"):
            yield REDACTED
            hide = False
            continue
        secret = word.startswith("-") and is_secret_name(name)
        if secret and equals:
            yield f"{name}={REDACTED}"
        else:
            yield REDACTED if is_secret_value(word) else word
        hide = secret and not equals
