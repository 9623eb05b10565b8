from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("words", "path", "prefix"),
    [
        (("gc",), "/v1/system/gc", "Error running system garbage-collection: "),
        (
            ("reconcile", "summaries"),
            "/v1/system/reconcile/summaries",
            "Error running system summary reconciliation: ",
        ),
    ],
)
def test_housekeeping_is_silent_when_it_worked(
    cli: Callable[..., Any], server: Any, words: tuple[str, ...], path: str, prefix: str
) -> None:
    server.on(f"PUT {path}")
    result = cli("system", *words)
    assert (result.status, result.out, result.err) == (0, "", "")
    server.answers.clear()
    server.on(f"PUT {path}", b"Permission denied", 403)
    refused = cli("system", *words)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == f"{prefix}Unexpected response code: 403 (Permission denied)\n"
