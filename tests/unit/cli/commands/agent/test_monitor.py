from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.cli.shell import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


def test_log_lines_are_printed_as_they_come(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/monitor", b"line 1\nline 2\n")
    result = cli("monitor", "-log-level=DEBUG", "-json", "-server-id=leader")
    assert (result.status, result.out) == (0, "line 1\nline 2\n")
    assert server.requests[0].target == (
        "/v1/agent/monitor?log_json=true&log_level=DEBUG&plain=true&server_id=leader"
    )


def test_an_unknown_log_level_is_refused(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/monitor", b"Unknown log level: bogus", 400)
    assert cli("monitor", "-log-level=bogus").err == (
        "Error starting monitor: Unexpected response code: 400 (Unknown log level: bogus)\n"
    )


def test_an_interrupt_is_how_it_ends(
    cli: Callable[..., Any], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> Iterator[bytes]:
        yield b"line\n"
        raise KeyboardInterrupt

    server.on("GET /v1/agent/monitor", b"")
    monkeypatch.setattr(client.Answer, "chunks", interrupted)
    result = cli("monitor")
    assert (result.status, result.out, result.err) == (0, "line\n", "")
