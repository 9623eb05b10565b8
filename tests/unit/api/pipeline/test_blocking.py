"""What a blocking query asks for, and how long it waits."""

from __future__ import annotations

from typing import Any

import pytest

from bellcow.acl.rights import Need
from bellcow.api.message import Request
from bellcow.api.pipeline.blocking import MAX_WAIT_S, asked_wait, begun, watched
from bellcow.api.route import Route, Serve
from bellcow.errors import Error
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS, NAMESPACES


def route(**declared: Any) -> Route:
    return Route(
        method="GET",
        path="/v1/x",
        need=Need.ANONYMOUS,
        serve=Serve.LEADER,
        handler=print,
        summary="",
        **declared,
    )


def asked(query: bytes, method: str = "GET", **declared: Any) -> tuple[float, int]:
    return asked_wait(route(**declared), Request(method, "/v1/x", b"/v1/x", query, []))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", (MAX_WAIT_S, 0)),
        (b"index=7", (MAX_WAIT_S, 7)),
        (b"index=7&wait=10s", (10.0, 7)),
        (b"index=7&wait=0", (MAX_WAIT_S, 7)),
        (b"index=7&wait=1h", (MAX_WAIT_S, 7)),
        (b"index=7&wait=-1s", (0.0, 7)),
    ],
)
def test_wait_is_bounded_and_the_index_is_none_by_default(
    query: bytes, expected: tuple[float, int]
):
    assert asked(query) == expected


def test_malformed_wait_is_refused_before_a_malformed_index():
    with pytest.raises(Error, match="Invalid wait time"):
        asked(b"wait=x&index=x")
    with pytest.raises(Error, match="Invalid index"):
        asked(b"index=x")


def test_writes_and_routes_that_do_not_wait_ignore_both():
    assert asked(b"wait=x&index=x", "PUT") == (MAX_WAIT_S, 0)
    assert asked(b"wait=x&index=x", reads_wait=False) == (MAX_WAIT_S, 0)


def test_wait_is_prolonged_by_a_sixteenth_at_most():
    class Latest:
        def monotonic(self) -> float:
            return 100.0

        def uniform(self, low: float, high: float) -> float:
            assert low == 0.0
            return high

    wait = begun(Latest(), 7, 32.0)  # type: ignore[arg-type]
    assert (wait.until, wait.index) == (134.0, 7)


def test_query_is_woken_by_its_tables_and_by_those_of_its_rights():
    tables = (NAMESPACES, ACL_BOOTSTRAP, ACL_TOKENS, ACL_POLICIES)
    assert set(watched(route(watch=(NAMESPACES,)))) == {table.name for table in tables}
