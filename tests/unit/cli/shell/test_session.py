from __future__ import annotations

import click
import pytest

from bellcow.cli.shell.errors import CommandError
from bellcow.cli.shell.session import Session, as_data, command
from bellcow.cli.shell.settings import Settings


def test_the_client_is_made_when_it_is_first_wanted() -> None:
    session = Session(Settings(address="http://"), "nomad server members")
    assert session.program == "nomad"
    with pytest.raises(CommandError, match="invalid address"):
        _ = session.client


def test_misuse_names_the_help() -> None:
    session = Session(Settings(), "nomad acl bootstrap")
    assert session.misuse("No").message == "No\nFor additional help try 'nomad acl bootstrap -help'"


def test_a_command_gets_its_session_and_its_own_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLCOW_REGION", "west")
    seen: list[object] = []

    @command("Does nothing.")
    @as_data
    def made(session: Session, *, as_json: bool, template: str) -> None:
        seen.extend((session.settings.region, session.settings.token, as_json, template))

    with made.make_context("made", ["-token=s", "-json", "-t", "{{.}}"]) as ctx:
        made.invoke(ctx)
    assert seen == ["west", "s", True, "{{.}}"]
    assert isinstance(made, click.Command)
