"""The commands of the quickstart, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness import BELLCOW, Agent

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text("utf-8")
SECTIONS = TEXT.split("\n## ")
SECRET = r"Secret ID\s+= (\S+)"


def commands(*numbers: int) -> list[str]:
    """The command lines of some sections, without those that start a server."""
    lines = [
        line
        for number in numbers
        for line in re.findall(r"^\$ (.+)$", SECTIONS[number], re.MULTILINE)
    ]
    return [line for line in lines if not line.startswith(("make ", "export ", "bellcow agent "))]


def run(agent: Agent, line: str, token: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(agent.folder),
        "PATH": f"{BELLCOW.parent}:{os.environ['PATH']}",
        "BELLCOW_ADDR": agent.url,
        "BELLCOW_TOKEN": token,
    }
    here = line.replace("localhost:4646", f"127.0.0.1:{agent.http_port}")
    return subprocess.run(
        ["bash", "-c", here],
        env=environment,
        cwd=agent.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shown_after(line: str) -> str:
    """The first line that the page shows as the answer to a command, "" where it shows none."""
    after = TEXT.partition(f"$ {line}\n")[2].partition("\n")[0]
    return "" if after.startswith(("$", "`")) else after


@pytest.mark.slow
def test_a_first_look_a_change_and_a_backup(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent()
    for line in commands(1, 2, 3):
        done = run(agent, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        expected = shown_after(line).split()[:2]
        assert done.stdout.split()[: len(expected)] == expected or "inspect" in line, line
    assert "= spread" in run(agent, "bellcow operator scheduler get-config").stdout


@pytest.mark.slow
def test_the_configuration_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"```hcl\n(.*?)```", SECTIONS[4], re.DOTALL)
    (tmp_path / "server.hcl").write_text(block)
    (line,) = commands(4)
    words = [BELLCOW, *line.split()[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, shown_after(line))


@pytest.mark.slow
def test_quickstart_makes_a_token_with_a_policy(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent({"acl": {"enabled": True}})
    bootstrap, *between, refused = commands(5)
    root = re.findall(SECRET, run(agent, bootstrap).stdout)[0]
    for line in between:
        done = run(agent, line, root)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    narrow = re.findall(SECRET, done.stdout)[0]
    again = run(agent, refused.partition(" ")[2], narrow)
    assert (again.returncode, again.stderr.splitlines()[0]) == (1, shown_after(refused))
    assert run(agent, "bellcow operator snapshot save", narrow).returncode == 0
