"""The agent's output about its configuration, up to `==> Starting Nomad agent...`.

Loaded settings in, lines out. `config validate` prints the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.config.decode import shown
from bellcow.config.keys import all_keys, get_value
from bellcow.config.problem import Phase, Problem
from bellcow.config.validate import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bellcow.config.addresses import Machine
    from bellcow.config.load import Loaded

_ARROW = "==> "
_INDENT = "    "


class Report(msgspec.Struct, frozen=True):
    """Lines for both outputs; `ok` if the agent may start."""

    stdout: tuple[str, ...]
    stderr: tuple[str, ...]
    ok: bool


def report(loaded: Loaded, machine: Machine | None = None) -> Report:
    """Check the loaded settings; all that the agent prints about them."""
    problems = find_problems(loaded, machine)
    errors = [problem for problem in problems if not problem.warning]
    stderr = [f"No configuration loaded from {path}" for path in loaded.empty]
    told_error = False
    for problem in problems:
        # Nomad: it stops at the first error, so later warnings are not shown.
        if problem.warning and told_error:
            continue
        told_error = told_error or not problem.warning
        stderr.extend(_lines(problem, loaded))
    first = min((problem.phase for problem in errors), default=None)
    return Report(tuple(_announcements(loaded, first)), tuple(stderr), not errors)


def find_problems(loaded: Loaded, machine: Machine | None = None) -> list[Problem]:
    """All problems of the loaded settings, in the order of the start."""
    broken = {key for problem in loaded.problems for key in problem.keys}
    checked = validate(
        loaded.settings,
        origins=loaded.origins,
        unknown=tuple(loaded.unknown),
        dev=loaded.dev,
        machine=machine,
    )
    if any(problem.phase is Phase.LOAD for problem in loaded.problems):
        # Settings of an unreadable file would look missing: report problems of written settings
        # only.
        checked = [
            problem
            for problem in checked
            if not problem.warning and _about_written(problem, loaded, broken)
        ]
    return sorted([*loaded.problems, *checked], key=lambda problem: problem.phase)


def _about_written(problem: Problem, loaded: Loaded, broken: set[str]) -> bool:
    keys = set(problem.keys)
    return bool(keys & loaded.origins.keys()) and not keys & broken


def _lines(problem: Problem, loaded: Loaded) -> Sequence[str]:
    """Nomad's line first, then the places and what is allowed."""
    out = [_ARROW + problem.text]
    if problem.warning:
        return out
    out.extend(_INDENT + place for place in problem.places)
    if not problem.places:
        out.extend(_INDENT + line for line in _of_keys(problem, loaded))
    return out


def _of_keys(problem: Problem, loaded: Loaded) -> Sequence[str]:
    """Where each key of the problem was written, and what is allowed."""
    keys = {key.path: key for key in all_keys()}
    out = []
    for path in problem.keys:
        origin = loaded.origins.get(path, "")
        if not origin or (origin.startswith("-") and not problem.allowed):
            continue  # the message shows the value of a flag already
        value = shown(keys[path], get_value(loaded.settings, path))
        where = f"{origin}={value}" if origin.startswith("-") else f"{origin}: {path} = {value}"
        out.append(f"{where}: {problem.allowed}" if problem.allowed else where)
    return out


def _announcements(loaded: Loaded, first: Phase | None) -> Sequence[str]:
    if first in {Phase.LOAD, Phase.CHECK}:
        return ()
    files = ", ".join(loaded.files)
    known = f"Loaded configuration from {files}" if files else "No configuration files loaded"
    out = [_ARROW + known]
    if first is not Phase.TELEMETRY:
        out.append(_ARROW + "Starting Nomad agent...")
    return out
