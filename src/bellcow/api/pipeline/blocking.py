"""Blocking queries: what a client asks to wait for, how long it waits, and what ends the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.message import Blocking
from bellcow.api.query import parse_uint
from bellcow.errors import Error, invalid
from bellcow.gocompat.duration import NS_PER_S, parse_duration
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS

if TYPE_CHECKING:
    from bellcow.api.message import Request
    from bellcow.api.route import Route
    from bellcow.clock import Clock

MAX_WAIT_S = 300.0
# A wait is prolonged by up to a sixteenth, so that not all end at once.
JITTER = 16  # Source: jitterFraction in Nomad's nomad/rpc.go
RIGHTS_TABLES = (ACL_BOOTSTRAP, ACL_TOKENS, ACL_POLICIES)


def asked_wait(route: Route, request: Request) -> tuple[float, int]:
    """Seconds to wait, and the index to wait for; 0 for none. Nomad: `wait` is looked at first.

    Raises:
        invalid: one of them is malformed.
    """
    wait_s, index = MAX_WAIT_S, 0
    if not request.raw_query or request.method != "GET" or not route.reads_wait:
        return wait_s, index
    if text := request.param("wait"):
        try:
            wait_s = min(parse_duration(text) / NS_PER_S, MAX_WAIT_S) or MAX_WAIT_S
        except ValueError:
            raise invalid("Invalid wait time") from None
    if text := request.param("index"):
        try:
            index = parse_uint(text, "")
        except Error:
            raise invalid("Invalid index") from None
    return max(wait_s, 0.0), index


def begun(clock: Clock, index: int, wait_s: float) -> Blocking:
    """The wait of a query that first waits now."""
    return Blocking(clock.monotonic() + wait_s + clock.uniform(0.0, wait_s / JITTER), index)


def watched(route: Route) -> tuple[str, ...]:
    """The tables that wake a query; those of its rights too, so that a lost one ends it at once."""
    return tuple({table.name for table in (*route.watch, *RIGHTS_TABLES)})
