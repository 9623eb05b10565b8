from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.archives import ARCHIVE, PATH, digest

from bellcow.cli.commands.operator.snapshot.agent import superseded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def leader(leads: str) -> dict[str, Any]:
    return {"stats": {"nomad": {"leader": leads}}}


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Lets two rounds pass without waiting, then interrupts."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    return slept


def agent(cli: Callable[..., Any], tmp_path: Path, *words: str) -> Any:
    return cli("operator", "snapshot", "agent", f"-local-path={tmp_path}", *words)


def test_one_save_when_the_interval_is_zero(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on("GET /v1/agent/self", leader("true"))
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    result = agent(cli, tmp_path, "-interval=0")
    (path,) = tmp_path.iterdir()
    assert (result.status, result.err) == (0, "")
    assert result.out == f"State file written to {path}: index 21, {len(ARCHIVE)} B\n"


def test_a_single_save_that_fails_ends_with_one(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on("GET /v1/agent/self", leader("true"))
    server.on(f"GET {PATH}", b"Permission denied", 403)
    assert agent(cli, tmp_path, "-interval=0").status == 1


def test_a_single_save_without_the_right_to_read_the_leader_ends_with_one(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on("GET /v1/agent/self", b"Permission denied", 403)
    result = agent(cli, tmp_path, "-interval=0")
    assert result.status == 1
    assert result.err == (
        "Failed to ask the server whether it leads: "
        "Unexpected response code: 403 (Permission denied)\n"
    )


def test_a_single_save_is_left_to_the_leader(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on("GET /v1/agent/self", leader("false"))
    result = agent(cli, tmp_path, "-interval=0")
    assert (result.status, result.out) == (0, "Nothing saved: this server does not lead\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("-any",)])
def test_nothing_is_saved_once_the_license_has_ended(
    cli: Callable[..., Any], server: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = {"phase": "terminated", "status": "the license ended on 2020-01-01T00:00:00Z"}
    answer = leader("true")
    server.on("GET /v1/agent/self", {"stats": {**answer["stats"], "license": ended}})
    result = agent(cli, tmp_path, "-interval=0", *words)
    text = "Nothing saved: the license ended on 2020-01-01T00:00:00Z\n"
    assert (result.status, result.err) == (1, text)
    assert list(tmp_path.iterdir()) == []


def test_an_expired_license_still_saves(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    answer = leader("true")
    server.on("GET /v1/agent/self", {"stats": {**answer["stats"], "license": {"phase": "expired"}}})
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    assert agent(cli, tmp_path, "-interval=0").status == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_only_the_leader_saves(
    cli: Callable[..., Any], server: Any, tmp_path: Path, rounds: list[float]
) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    server.on("GET /v1/agent/self", leader("false"))
    server.on("GET /v1/agent/self", leader("true"))
    result = agent(cli, tmp_path, "-interval=1h30m")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0] == "Nothing saved: this server does not lead"
    assert lines[1].startswith("State file written to ")
    assert lines[2] == "Stopped"
    assert rounds == [5400.0, 5400.0]


def test_any_server_saves_without_leading(
    cli: Callable[..., Any], server: Any, tmp_path: Path, rounds: list[float]
) -> None:
    server.on("GET /v1/agent/self", leader("false"))
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    assert agent(cli, tmp_path, "-any").status == 0
    assert [request.target for request in server.requests].count(PATH) == 2
    assert rounds == [3600.0, 3600.0]


def test_a_failed_round_is_printed_and_the_next_one_tries_again(
    cli: Callable[..., Any], server: Any, tmp_path: Path, rounds: list[float]
) -> None:
    server.on("GET /v1/agent/self", b"No cluster leader", 500)
    server.on("GET /v1/agent/self", leader("true"))
    server.on(f"GET {PATH}", b"broken", 500)
    result = agent(cli, tmp_path)
    assert (result.status, result.out) == (0, "Stopped\n")
    assert result.err == (
        "Failed to ask the server whether it leads: "
        "Unexpected response code: 500 (No cluster leader)\n"
        "Failed to get snapshot file: Unexpected response code: 500 (broken)\n"
    )
    assert len(rounds) == 2


def test_the_newest_files_stay_and_foreign_files_are_not_touched() -> None:
    names = [
        "nomad-state-20261123-1795442432.snap",
        "nomad-state-20261124-1795528832.snap",
        "nomad-state-20250101-1735689600.snap",
        "nomad-state-20250101-1735689600.snap.tmp",
        "before-upgrade.snap",
    ]
    assert superseded(names, 2) == ["nomad-state-20250101-1735689600.snap"]
    assert superseded(names, 3) == []
    assert superseded(names, 0) == []


def test_old_files_go_after_a_save(cli: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    (tmp_path / "nomad-state-20250101-1735689600.snap").touch()
    (tmp_path / "mine").touch()
    server.on("GET /v1/agent/self", leader("true"))
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    assert agent(cli, tmp_path, "-interval=0", "-retain=1").status == 0
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "mine").exists()


def test_impossible_flags_are_refused_at_once(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    missing = cli("operator", "snapshot", "agent", f"-local-path={tmp_path}/none")
    assert missing.err == (f"No directory {tmp_path}/none: make it, or give another -local-path\n")
    assert agent(cli, tmp_path, "-interval=-1s").err.startswith("-interval must not be negative\n")
    assert server.requests == []
