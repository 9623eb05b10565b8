"""Runs the stories: blocks of commands, a line of dashes, and what is seen then.

A story begins with prose behind `#` and a line `servers NAME...`. `--rewrite-stories` writes what
happens into the file; read the diff before you believe it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.sim.loop import simulate
from tests.stories.script import opened

STORIES = sorted(Path(__file__).parent.glob("*.txt"))
RULE = "----"


class Block(NamedTuple):
    """Commands and prose as written, and what is expected."""

    head: list[str]
    commands: list[str]
    expected: list[str]


def parse(text: str) -> tuple[tuple[str, ...], str, list[Block]]:
    """The servers of a story, its opening as written, and its blocks."""
    opening, *paragraphs = text.strip("\n").split("\n\n")
    servers = next(line for line in opening.splitlines() if line.startswith("servers "))
    blocks = []
    for paragraph in paragraphs:
        head, _, expected = paragraph.partition(f"\n{RULE}")
        lines = head.splitlines()
        commands = [line for line in lines if not line.startswith("#")]
        blocks.append(Block(lines, commands, expected.strip("\n").splitlines()))
    return tuple(servers.split()[1:]), opening, blocks


async def tell(text: str, folder: Path) -> str:
    """The story with what really happened."""
    servers, opening, blocks = parse(text)
    parts = [opening]
    async with opened(servers, folder) as script:
        for block in blocks:
            seen = await script.run(block.commands)
            parts.append("\n".join([*block.head, RULE, *seen]))
    return "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_goes_as_written(path, tmp_path, request):
    written = path.read_text("utf-8")
    told = simulate(tell(written, tmp_path))
    if request.config.getoption("--rewrite-stories", default=False):
        path.write_text(told, "utf-8")
    else:
        assert told == written


def test_there_are_stories():
    assert STORIES


def test_story_that_goes_otherwise_is_noticed(tmp_path):
    wrong = "servers a\n\nbegin\nlook\n----\na follows\n"
    assert simulate(tell(wrong, tmp_path)) != wrong
