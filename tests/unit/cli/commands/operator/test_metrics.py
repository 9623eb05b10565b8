from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = b'{"Counters":[{"Max":150.0}],"Timestamp":"t"}'


def test_metrics_are_printed_as_they_came_with_one_newline(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/metrics", BODY)
    assert cli("operator", "metrics").out == BODY.decode() + "\n"
    server.answers.clear()
    server.on("GET /v1/metrics", b"# HELP\n")
    assert cli("operator", "metrics", "-format=prometheus", "-pretty").out == "# HELP\n"
    assert server.requests[1].target == "/v1/metrics?format=prometheus&pretty=true"


def test_metrics_as_data(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/metrics", BODY)
    assert '"Max": 150\n' in cli("operator", "metrics", "-json").out
    assert cli("operator", "metrics", "-t", "{{.Timestamp}}").out == "t\n"


def test_a_disabled_format_is_explained(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/metrics", b"Prometheus is not enabled", 415)
    assert cli("operator", "metrics", "-format=prometheus").err == (
        "Error getting metrics: Unexpected response code: 415 (Prometheus is not enabled)\n"
    )
