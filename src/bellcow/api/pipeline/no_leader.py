"""Why no server leads, in one line for the header of a refusal, from the events of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.events import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.server import Server

# The events that can be the cause, the most specific first.
CAUSES = (
    "no_leader",
    "several_clusters",
    "expect_differs",
    "join_wrong_region",
    "hello_failed",
    "join_unanswered",
    "join_refused",
    "bootstrap_refused",
    "bootstrap_waiting",
)
SHOWN = 3
CHARS = 800


def why_no_leader(server: Server) -> str:
    """The current causes; "" without any."""
    return in_words({**server.lifecycle.troubles(), **server.exchange.troubles()})


def in_words(troubles: Mapping[str, Mapping[str, object]]) -> str:
    """The first causes among these events, each with its fields."""
    causes = [event for event in CAUSES if event in troubles][:SHOWN]
    text = "; ".join(_sentence(event, troubles[event]) for event in causes)
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:CHARS]


def _sentence(event: str, fields: Mapping[str, object]) -> str:
    hint = fields.get("hint")
    words = ", ".join(f"{name}: {fields[name]}" for name in fields if name != "hint")
    return f"{EVENTS[event].message} ({words})" + (f": {hint}" if hint else "")
