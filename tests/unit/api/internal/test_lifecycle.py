"""Requests of servers to a lifecycle, and its answers, as messages."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.api.internal.lifecycle import routes
from bellcow.errors import Code, Error, refused
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    MEMBER_PATH,
    BootstrapRequest,
    Done,
    MemberOrder,
    decode,
    encode,
)

BOOTSTRAP = BootstrapRequest(cluster_id="c", proposer="a", members=(("a", "h:1"), ("b", "h:2")))
ORDER = MemberOrder(
    cluster_id="c", epoch=0, server_id="a", member_id=7, members=(("a", "h:1"),), token="c.0"
)


class Lifecycle:
    """Says yes, and remembers to what."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def promise(self, request: BootstrapRequest) -> Done:
        if request.cluster_id != "c":
            raise refused("no")
        self.asked.append(request)
        return Done()

    async def obey(self, order: MemberOrder) -> Done:
        self.asked.append(order)
        return Done()


def ask(lifecycle: Lifecycle, path: str, body: bytes) -> bytes:
    return asyncio.run(routes(lifecycle)[("POST", path)].handle(None, body))


@pytest.mark.parametrize(("path", "message"), [(BOOTSTRAP_PATH, BOOTSTRAP), (MEMBER_PATH, ORDER)])
def test_message_reaches_the_lifecycle_unchanged(path, message):
    lifecycle = Lifecycle()
    assert decode(ask(lifecycle, path, encode(message)), Done) == Done()
    assert lifecycle.asked == [message]


@pytest.mark.parametrize("body", [b"", b"{}", encode(Done()), b"\xff" * 40])
def test_malformed_message_is_refused(body):
    for path in (BOOTSTRAP_PATH, MEMBER_PATH):
        with pytest.raises(Error) as caught:
            ask(Lifecycle(), path, body)
        assert caught.value.code is Code.INVALID


def test_refusal_of_the_lifecycle_is_the_answer():
    other = BootstrapRequest(cluster_id="d", proposer="a", members=())
    with pytest.raises(Error, match="no"):
        ask(Lifecycle(), BOOTSTRAP_PATH, encode(other))
