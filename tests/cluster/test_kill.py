"""An agent killed again and again under load: what it acknowledged is there when it is back."""

from __future__ import annotations

import random
import time

import pytest
from tests.cluster.load import Counter, Writer, namespaces
from tests.harness import Agent

pytestmark = pytest.mark.slow

KILLS = 17  # a test, and there are three
THREADS = 3


def kill_under_load(agent: Agent, chance: random.Random, round_: int) -> list[Writer | Counter]:
    """Load, and SIGKILL at a random moment of it."""
    clients: list[Writer | Counter] = [Writer(agent, f"w{round_}-{n}") for n in range(THREADS)]
    clients += [Counter(agent), Counter(agent)]
    for client in clients:
        client.start()
    time.sleep(chance.uniform(0.01, 0.25))
    agent.kill()
    for client in clients:
        client.join()
    return clients


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_acknowledged_is_lost_by_kills_under_load(seed, tmp_path):
    chance = random.Random(seed)
    agent = Agent(tmp_path)
    acknowledged: dict[str, int] = {}
    added = unanswered = top = 0
    with agent:
        begin = agent.get(Counter.PATH).json()["MaxTrailingLogs"]
        for round_ in range(KILLS):
            for client in kill_under_load(agent, chance, round_):
                if isinstance(client, Writer):
                    assert not client.refused
                    acknowledged |= client.acknowledged
                else:
                    added += client.added
                    unanswered += client.unanswered
            agent.start()
            present = namespaces(agent)
            assert {name: present.get(name) for name in acknowledged} == acknowledged
            head = int(agent.put("/v1/namespace", {"Name": "head"}).header("X-Nomad-Index") or 0)
            assert head > max(top, *acknowledged.values())
            top = head
            value = agent.get(Counter.PATH).json()["MaxTrailingLogs"] - begin
            assert added <= value <= added + unanswered
    assert len(acknowledged) > KILLS
    assert added > 0
