"""Answers that describe the process or the machine: compared by their shape."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families
from tests.contract.http_replay import expected_of, recorded

if TYPE_CHECKING:
    from tests.contract.http_replay import Exchange
    from tests.harness import Answer

SELF = expected_of(recorded("single-v2")[9]).value
# Of the client, which is not here, only the key that programs look at.
SELF["config"]["Client"] = {"Enabled": False}
UNUSED = ("Circonus", "Checksum", "KeyLoader", "DisableDispatchedJobSummaryMetrics")
METRIC_NAMES = {
    "nomad.nomad.autopilot.failure_tolerance",
    "nomad.nomad.autopilot.healthy",
    "nomad.raft.appliedIndex",
    "nomad.raft.lastIndex",
    "nomad.state.snapshotIndex",
}


def self_problems(exchange: Exchange, answer: Answer) -> list[str]:
    """Every key that the real one shows, with a value of the same JSON type."""
    return _content_type(exchange, answer) + list(_missing(SELF, answer.json(), ""))


def _missing(want: Any, got: Any, path: str) -> Any:
    if isinstance(want, dict):
        if not isinstance(got, dict):
            yield f"{path} is no object"
            return
        for name, value in want.items():
            if name in got:
                yield from _missing(value, got[name], f"{path}.{name}")
            elif not name.startswith(UNUSED):
                yield f"{path}.{name} is missing"
    elif want is not None and got is not None and _kind(want) != _kind(got):
        yield f"{path} is {got!r}, not like {want!r}"


def _kind(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def metrics_problems(exchange: Exchange, answer: Answer) -> list[str]:
    """The two formats of metrics; those in JSON row by row."""
    out = _content_type(exchange, answer)
    if "prometheus" in exchange.path:
        return out + _prometheus_problems(answer.text)
    shown, was = answer.json(), json.loads(exchange.response_body or "")
    if list(shown) != list(was):
        out.append(f"keys {list(shown)}")
    labels = set.intersection(*(set(row["Labels"]) for row in was["Gauges"]))
    for kind in ("Gauges", "Counters", "Samples"):
        keys = list((was[kind] or was["Counters"])[0])
        for row in shown[kind]:
            if list(row) != keys or set(row["Labels"]) != labels:
                out.append(f"{kind}: {row}")
    names = {row["Name"] for row in shown["Gauges"]}
    return out + [f"{name} is missing" for name in sorted(METRIC_NAMES - names)]


def _prometheus_problems(text: str) -> list[str]:
    names = {family.name for family in text_string_to_metric_families(text)}
    wanted = {name.replace(".", "_") for name in METRIC_NAMES}
    return [f"{name} is missing" for name in sorted(wanted - names)]


def host_problems(exchange: Exchange, answer: Answer) -> list[str]:
    wanted = ["Disk", "Environment", "Hosts", "Network", "OS", "ResolvConf"]
    keys = list(answer.json())
    return _content_type(exchange, answer) + ([] if keys == wanted else [f"keys {keys}"])


def _content_type(exchange: Exchange, answer: Answer) -> list[str]:
    want = (exchange.response_headers or {})["Content-Type"]
    got = answer.header("Content-Type")
    return [] if got == want else [f"Content-Type {got}, not {want}"]


SHAPES = {
    "/v1/agent/host": host_problems,
    "/v1/agent/self": self_problems,
    "/v1/metrics": metrics_problems,
}
