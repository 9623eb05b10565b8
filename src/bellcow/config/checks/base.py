"""What the checks of the settings share: their input, and the making of a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bellcow.config.problem import Phase, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.config.addresses import Machine
    from bellcow.config.model import Settings


class Given(NamedTuple):
    """The input of every check.

    `origins` says where each written setting stands; `unknown` are undeclared keys of blocks
    without effect; `machine` is None for the machine that this runs on.
    """

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...]
    dev: bool
    machine: Machine | None


def make_problem(phase: Phase, message: str, *keys: str, allowed: str = "") -> Problem:
    return Problem(phase=phase, message=message, keys=keys, allowed=allowed)


def wrong(message: str, *keys: str, allowed: str = "") -> Problem:
    return make_problem(Phase.CHECK, message, *keys, allowed=allowed)


def warning(message: str, *keys: str) -> Problem:
    return Problem(phase=Phase.CHECK, message=f"WARNING: {message}", keys=keys, warning=True)


def one_of(allowed: tuple[str, ...]) -> str:
    return "must be one of " + ", ".join(allowed)
