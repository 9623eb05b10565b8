"""Read a configuration, change it, and write it back with compare-and-set.

Used by every `set-config` command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.cli.shell.output import go_bool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRIES = 2  # another write in between is not the user's mistake


def overlay(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`current` with `changes` merged into it, nested objects too."""
    merged = dict(current)
    for key, value in changes.items():
        inner = merged.get(key)
        nested = isinstance(value, dict) and isinstance(inner, dict)
        merged[key] = overlay(inner or {}, value) if nested else value
    return merged


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line a setting that changed: `MaxTrailingLogs: 250 -> 100`."""
    found: list[str] = []
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found += differences(old, value)
        elif value != old:
            found.append(f"{key}: {_shown(old)} -> {_shown(value)}")
    return found


def _shown(value: object) -> str:
    return go_bool(value) if isinstance(value, bool) else str(value)


def set_with_cas(
    read: Callable[[], dict[str, Any]],
    write: Callable[[dict[str, Any], int], bool],
    changes: Mapping[str, Any],
    check: Callable[[int], None] = lambda _index: None,
) -> list[str] | None:
    """Read, change and compare-and-set; repeat if another write came first.

    Returns the lines about what changed, or None if another write came first each time.
    """
    for _ in range(TRIES):
        before = read()
        index = int(before.get("ModifyIndex", 0))
        check(index)
        after = overlay(before, changes)
        if write(after, index):
            return differences(before, after)
    return None
