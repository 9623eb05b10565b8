from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bellcow.cli.shell import completion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def complete(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    def go(line: str) -> list[str]:
        environment.setenv("COMP_LINE", line)
        result = cli()
        assert (result.status, result.err) == (0, "")
        return result.out.splitlines()

    return go


def test_the_commands_of_a_group_are_offered(complete: Callable[[str], list[str]]) -> None:
    assert complete("nomad operator raft l") == ["list-peers", "logs"]
    assert complete("nomad op") == ["operator"]
    assert complete("nomad operator snapshot s") == ["save", "state"]


def test_hidden_commands_are_not_offered(complete: Callable[[str], list[str]]) -> None:
    assert "keygen" not in complete("nomad ")


def test_flags_are_offered_after_a_dash_only(complete: Callable[[str], list[str]]) -> None:
    assert complete("nomad operator raft list-peers ") == []
    assert complete("nomad operator raft list-peers -st") == ["-stale"]
    assert complete("nomad operator raft list-peers --st") == ["--stale"]
    offered = complete("nomad operator autopilot set-config -")
    assert {"-min-quorum", "-address", "-cleanup-dead-servers"} <= set(offered)
    assert not [word for word in offered if word.startswith("--") or "not-" in word]


def test_flags_with_values_do_not_disturb_later_words(
    complete: Callable[[str], list[str]],
) -> None:
    assert complete("nomad operator raft list-peers -address http://x -bogus -st") == ["-stale"]


def test_only_the_text_before_the_cursor_counts(environment: pytest.MonkeyPatch) -> None:
    assert completion.typed({"COMP_LINE": "nomad op raft", "COMP_POINT": "8"}) == "nomad op"
    assert completion.typed({"COMP_LINE": "nomad op", "COMP_POINT": "x"}) == "nomad op"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_protocol_of_click_is_answered(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch, shell: str
) -> None:
    environment.setenv("_NOMAD_COMPLETE", f"{shell}_complete")
    environment.setenv("COMP_WORDS", "nomad operator raft list-peers -st")
    environment.setenv("COMP_CWORD", "-st" if shell == "fish" else "4")
    result = cli()
    assert result.status == 0
    assert "-stale" in result.out


def test_completion_is_installed_once_and_can_be_removed(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", str(tmp_path))
    (tmp_path / ".bashrc").write_text("alias x=y")
    (tmp_path / ".zshrc").touch()
    (tmp_path / ".config/fish").mkdir(parents=True)
    fish = tmp_path / ".config/fish/completions/nomad.fish"
    first = cli("-autocomplete-install")
    assert first.status == 0
    assert len(first.out.splitlines()) == 3
    assert (
        (tmp_path / ".bashrc")
        .read_text()
        .startswith("alias x=y\ncomplete -o nospace -o default -C ")
    )
    assert "bashcompinit" in (tmp_path / ".zshrc").read_text()
    assert "complete -f -c nomad" in fish.read_text()
    again = cli("-autocomplete-install")
    assert (again.status, again.out) == (1, "")
    assert cli("-autocomplete-uninstall").status == 0
    assert (tmp_path / ".bashrc").read_text() == "alias x=y\n"
    assert fish.read_text() == ""
    assert cli("-autocomplete-uninstall").status == 1


def test_completion_without_any_start_file_is_an_error(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", str(tmp_path))
    assert "Nothing to change" in cli("-autocomplete-install").err
    assert list(tmp_path.iterdir()) == []
