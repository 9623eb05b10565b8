"""Single steps of a request: best of three loops, without garbage collection."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import msgspec
from bench.figure import Figure
from bench.population import RULES, objects, policy, token
from bench.writes import BODY

from bellcow.acl.commands import create_token
from bellcow.acl.policy import parse_rules
from bellcow.acl.rights import compile_rights
from bellcow.acl.tokens import Resolver
from bellcow.gocompat.json import decode
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.committer import COMMANDS_A_BATCH
from bellcow.state.draft import Draft
from bellcow.state.tables import ACL_POLICIES, REGISTRY, Tables, fill
from bellcow.store.protocol import Head
from bellcow.wire import to_json, to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.site import Options

LOOPS = 3
LOOP_S = 0.2
OBJECTS = 1_000


def measure(options: Options) -> list[Figure]:
    seconds = LOOP_S / 4 if options.quick else LOOP_S
    return [
        Figure(name=f"micro: {name}", value=_best_us(step, seconds), unit="us")
        for name, step in _steps().items()
    ]


def _steps() -> dict[str, Callable[[], object]]:
    rows = [(table, row_id, row) for table, row_id, row in objects(OBJECTS)]
    tables = Tables()
    tables.replace(
        Head(index=1), fill(((table.name, row_id), to_msgpack(row)) for table, row_id, row in rows)
    )
    secret = next(row.secret_id for table, _, row in rows if table.name == "acl_tokens")
    resolver = Resolver(tables, enabled=True)
    fresh = Resolver(tables, enabled=True)
    scheduler, autopilot = SchedulerConfiguration(), to_json(AutopilotConfiguration())
    head = Head(index=2)
    changed = to_msgpack(msgspec.structs.replace(policy(1), modify_index=2))
    commit = {(ACL_POLICIES.name, "policy-1"): changed}
    stored = {(ACL_POLICIES.name, f"policy-{n}"): changed for n in range(64)}
    text = RULES % 1
    rules = [parse_rules(text)]
    creations = [create_token(token(n)) for n in range(COMMANDS_A_BATCH)]

    def resolve_anew() -> object:
        fresh.__init__(tables, enabled=True)  # type: ignore[misc]  # the cheapest empty cache
        return fresh.resolve(secret)

    def run_a_batch() -> object:
        draft = Draft(tables)
        for creation in creations:
            draft.run(creation)
            draft.keep()
        return draft

    return {
        "encode a scheduler configuration as JSON": lambda: to_json(scheduler),
        "encode a policy as MessagePack": lambda: to_msgpack(rows[0][2]),
        "decode a scheduler body": lambda: decode(SchedulerConfiguration, BODY.encode()),
        "decode an autopilot body": lambda: decode(AutopilotConfiguration, autopilot),
        "decode a stored policy": lambda: REGISTRY[ACL_POLICIES.name].decoder.decode(changed),
        f"run a batch of {COMMANDS_A_BATCH} token creations": run_a_batch,
        "apply a commit of 1 change": lambda: tables.apply(head, commit),
        "apply a commit of 64 changes": lambda: tables.apply(head, stored),
        "resolve a known token": lambda: resolver.resolve(secret),
        "resolve a token anew": resolve_anew,
        "parse a policy of 6 lines": lambda: parse_rules(text),
        "compile rights of 1 policy": lambda: compile_rights(rules),
    }


def _best_us(step: Callable[[], object], seconds: float) -> float:
    """Microseconds per call in the best of `LOOPS` loops of about `seconds` each."""
    count = 1
    while (taken := _loop(step, count)) < seconds / 10:
        count *= 2
    count = max(1, int(count * seconds / taken))
    gc.disable()
    try:
        return min(_loop(step, count) for _ in range(LOOPS)) / count * 1e6
    finally:
        gc.enable()


def _loop(step: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - began
