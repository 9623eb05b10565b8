"""What handlers ask a call: switches, indexes and numbers in Go's words."""

from __future__ import annotations

from typing import Any

import pytest

from bellcow.api.call import Call
from bellcow.api.message import Request

SERVER: Any = None  # nothing here asks the server


def call(query: bytes) -> Call:
    return Call(SERVER, Request("GET", "/v1/x", b"/v1/x", query, [], ""), "")


@pytest.mark.parametrize(
    ("query", "stale"),
    [
        (b"", False),
        (b"stale", True),
        (b"stale=", True),
        (b"stale=true", True),
        (b"stale=0", True),
        (b"stale=False", True),
        (b"stale=false", False),
        (b"STALE", False),
    ],
)
def test_stale_counts_by_its_presence(query: bytes, stale: bool) -> None:
    assert call(query).stale is stale


@pytest.mark.parametrize("query", [b"force=true", b"force=TRUE", b"force=1"])
def test_a_switch_must_be_said(query: bytes) -> None:
    assert call(query).flag("force")
    assert not call(query).flag("other")


@pytest.mark.parametrize("query", [b"force", b"force=", b"force=yes", b"force=0", b"force=true1"])
def test_any_other_word_is_no_switch(query: bytes) -> None:
    assert not call(query).flag("force")
