from __future__ import annotations

import asyncio

import pytest
from tests.sim.loop import simulate

from bellcow.agent.retry_join import JoinError, join_at_start
from bellcow.config.model import Settings
from bellcow.config.server_block import Server, ServerJoin
from bellcow.errors import Code, Error
from bellcow.gocompat.duration import Duration


class Neighbors:
    """Exchange and roster in one: the servers that answer, and from which second."""

    def __init__(self, *answering: tuple[str, int], after_s: float = 1e9) -> None:
        self.answering = answering
        self.after_s = after_s
        self.asked: list[tuple[str, int]] = []

    async def addresses(self, host: str) -> tuple[str, ...]:
        return (host,)

    async def join(self, address: tuple[str, int], name: str = "") -> None:
        assert name == address[0]
        self.asked.append(address)
        if address not in self.answering:
            raise Error(Code.UNAVAILABLE, "connection refused")

    def contacts(self) -> dict[str, object]:
        return {"b": 1} if asyncio.get_running_loop().time() >= self.after_s else {}

    def alive(self) -> frozenset[str]:
        return frozenset({"a"})


async def knock(address: tuple[str, int]) -> None:
    """Something listens everywhere."""


def settings(**join: object) -> Settings:
    return Settings(server=Server(server_join=ServerJoin(**join)))


def join(told: Settings, neighbors: Neighbors) -> float:
    """Seconds it took."""

    async def story() -> float:
        began = asyncio.get_running_loop().time()
        await join_at_start(told, neighbors, neighbors, knock)
        return asyncio.get_running_loop().time() - began

    return simulate(story())


def test_no_server_is_asked_without_a_join_list():
    neighbors = Neighbors()
    assert join(settings(), neighbors) == 0.0
    assert neighbors.asked == []


def test_one_answer_to_start_join_is_enough():
    neighbors = Neighbors(("two", 4648))
    join(settings(start_join=("one", "two", "three:1")), neighbors)
    assert neighbors.asked == [("one", 4648), ("two", 4648)]


def test_unanswered_start_join_ends_the_agent():
    with pytest.raises(JoinError) as caught:
        join(settings(start_join=("one", "[::1]:7")), Neighbors())
    assert str(caught.value) == (
        "2 errors occurred:\n\t* Failed to join one: one:4648: no server port answers there; "
        "it is 4648 unless ports say otherwise\n\t* Failed to join ::1: [::1]:7: no server port "
        "answers there; it is 4648 unless ports say otherwise\n\n"
    )


def test_retry_join_without_a_limit_never_ends():
    assert join(settings(retry_join=("one",)), Neighbors()) == 0.0


def test_retry_join_ends_after_one_try_more_than_the_limit():
    told = settings(retry_join=("one",), retry_max=2, retry_interval=Duration.seconds(10))
    with pytest.raises(JoinError, match="max join retry exhausted, exiting"):
        join(told, Neighbors(after_s=30.5))
    assert join(told, Neighbors(after_s=29.0)) == pytest.approx(29.0, abs=0.3)
