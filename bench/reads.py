"""CPU of a GET, in units of the reference server's: on the fast path, packed, and by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figure import Figure, at_most
from bench.site import Options, pid_of, running_agent, running_reference
from bench.wrk import Contender, Load, best_rate, compare, least_cpu_us, run, spelled

if TYPE_CHECKING:
    from bench.wrk import Outcome

FAST_GATE = at_most(0.7)
TASK_GATE = at_most(1.6)
PATH = "/v1/operator/scheduler/configuration"
TURN_S = 1.0


def measure(options: Options) -> list[Figure]:
    figures = []
    with running_reference() as (pid, url), running_agent() as (agent, token):
        ours = pid_of(agent)
        header = {"X-Nomad-Token": token}
        target = agent.url + PATH
        loads = {
            "fast": Load(url=target, headers=header),
            "gzip": Load(url=target, headers={**header, "Accept-Encoding": "gzip"}),
            # A body keeps a GET off the fast path.
            "task": Load(url=target, headers=header, body="{}"),
            "uncached": Load(url=f"{agent.url}/v1/namespace/default", headers=header),
        }
        contenders = [Contender(name="reference", load=Load(url=url, headers=header), pid=pid)]
        contenders += [Contender(name=n, load=load, pid=ours) for n, load in loads.items()]
        for each in contenders:
            run(each.load, each.pid, 8, TURN_S)
        for connections in options.connections:
            outcomes = compare(contenders, connections, turns=options.turns, seconds=TURN_S)
            figures += _figures(outcomes, connections)
    return figures


def _figures(outcomes: dict[str, list[Outcome]], connections: int) -> list[Figure]:
    base = outcomes["reference"]
    where = f"{connections} connection{'s' if connections > 1 else ''}"
    described = (
        ("fast", "fast-path GET", FAST_GATE),
        ("gzip", "fast-path GET, gzip", FAST_GATE),
        ("uncached", "fast-path GET, not cached", None),
        ("task", "ASGI-path GET", TASK_GATE),
    )
    figures = [
        Figure(
            name=f"{text}, {where}",
            value=least_cpu_us(outcomes[name]) / least_cpu_us(base),
            unit="x CPU",
            gate=gate,
            reference=f"{spelled(outcomes[name])} over {spelled(base)}",
        )
        for name, text, gate in described
    ]
    rates = {name: best_rate(each) for name, each in outcomes.items()}
    figures.append(
        Figure(
            name=f"fast-path GET rate, {where}",
            value=rates["fast"] / rates["reference"],
            unit="x rate",
            reference=f"{rates['fast']:,.0f}/s over {rates['reference']:,.0f}/s",
        )
    )
    return figures
