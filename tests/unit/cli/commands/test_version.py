from __future__ import annotations

import pytest

from bellcow import __version__
from bellcow.cli.commands.version import program_name, version_text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nomad", "nomad"),
        ("/usr/local/bin/nomad", "nomad"),
        ("bellcow", "bellcow"),
        ("/x/main.py", "bellcow"),
        ("/opt/nomad/bellcow", "bellcow"),
    ],
)
def test_the_program_calls_itself_as_it_was_called(path: str, name: str) -> None:
    assert program_name(path) == name


def test_both_versions_are_printed() -> None:
    assert version_text("nomad") == "Nomad v1.0.18"
    assert version_text("bellcow") == f"bellcow v{__version__} (Nomad API v1.0.18)"
