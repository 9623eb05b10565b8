"""Runs the stories: blocks of commands, a line of dashes, and the expected output.

A story begins with prose behind `#` and a line `servers NAME...`, or `herd NAME...` for servers
that live by themselves, or `camp NAME...` for servers that begin with nothing but a disk.
`--rewrite-stories` writes what happens into the file; read the diff before you believe it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.sim.camp import Camp
from tests.sim.herd import Herd
from tests.sim.loop import simulate
from tests.sim.world import World
from tests.stories.camp_script import CampScript, camped
from tests.stories.herd_script import HerdScript
from tests.stories.script import Script, opened

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

STORIES = sorted(Path(__file__).parent.glob("*.txt"))
RULE = "----"
KINDS = ("servers ", "herd ", "camp ")


class Block(NamedTuple):
    """Commands and prose as written, and the expected output."""

    head: list[str]
    commands: list[str]
    expected: list[str]


def parse(text: str) -> tuple[list[str], str, list[Block]]:
    """Kind and servers of a story, its opening as written, and its blocks."""
    opening, *paragraphs = text.strip("\n").split("\n\n")
    cast = next(line for line in opening.splitlines() if line.startswith(KINDS))
    blocks = []
    for paragraph in paragraphs:
        head, _, expected = paragraph.partition(f"\n{RULE}")
        lines = head.splitlines()
        commands = [line for line in lines if not line.startswith("#")]
        blocks.append(Block(lines, commands, expected.strip("\n").splitlines()))
    return cast.split(), opening, blocks


def staged(
    kind: str, names: list[str], folder: Path
) -> AbstractAsyncContextManager[Script | CampScript]:
    if kind == "camp":
        return camped(Camp(folder, *names))
    if kind == "herd":
        herd = Herd(*names, folder=folder)
        return opened(HerdScript(herd, folder), herd)
    world = World(*names, folder=folder)
    return opened(Script(world, folder), world)


async def tell(text: str, folder: Path) -> str:
    """The story with its real output."""
    (kind, *names), opening, blocks = parse(text)
    parts = [opening]
    async with staged(kind, names, folder) as script:
        for block in blocks:
            seen = await script.run(block.commands)
            parts.append("\n".join([*block.head, RULE, *seen]))
    return "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_matches_its_file(path, tmp_path, request):
    written = path.read_text("utf-8")
    told = simulate(tell(written, tmp_path))
    if request.config.getoption("--rewrite-stories", default=False):
        path.write_text(told, "utf-8")
    else:
        assert told == written


def test_stories_are_found():
    assert STORIES


def test_story_that_differs_fails(tmp_path):
    wrong = "servers a\n\nbegin\nlook\n----\na follows\n"
    assert simulate(tell(wrong, tmp_path)) != wrong
