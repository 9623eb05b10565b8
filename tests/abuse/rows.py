"""The list of rows: what each one does, where it runs and what it is allowed to cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.abuse.site import Settings, Site


class Row(NamedTuple):
    """One bad input. `needs` is the kind of server; `settings` ask for one of its own."""

    name: str
    title: str
    run: Callable[[Site], None]
    needs: str
    settings: Settings | None
    local: bool
    writes: bool
    faults: frozenset[int]
    limit_s: float
    skipped: str
    unmended: str


ROWS: list[Row] = []


def row(
    name: str,
    title: str,
    *,
    needs: str = "open",
    settings: Settings | None = None,
    local: bool = False,
    writes: bool = False,
    faults: set[int] | None = None,
    limit_s: float = 5.0,
    unmended: str = "",
) -> Callable[[Callable[[Site], None]], Callable[[Site], None]]:
    """Declare the decorated function as a row.

    `local`: it looks into the process. `writes`: a write of it succeeds. `faults`: the 5xx it may
    get. `limit_s` above 5 marks it slow. `unmended`: why it fails for now.
    """

    def declare(run: Callable[[Site], None]) -> Callable[[Site], None]:
        allowed = frozenset(faults or ())
        own = local or settings is not None
        new = Row(name, title, run, needs, settings, own, writes, allowed, limit_s, "", unmended)
        _add(new)
        return run

    return declare


def left_out(name: str, why: str) -> None:
    """Name a part of a row that is not tested here, and say why."""

    def skip(site: Site) -> None:
        pytest.skip(why)

    _add(Row(name, why, skip, "open", None, False, False, frozenset(), 5.0, why, ""))


def _add(new: Row) -> None:
    assert all(new.name != old.name for old in ROWS), f"{new.name} is declared twice"
    ROWS.append(new)


def parameters() -> list[Any]:
    """The rows as pytest wants them, with their marks."""
    out = []
    for each in ROWS:
        marks = [pytest.mark.slow] if each.limit_s > 5 else []
        if each.unmended:
            marks.append(pytest.mark.xfail(strict=True, reason=each.unmended))
        out.append(pytest.param(each, id=each.name, marks=marks))
    return out
