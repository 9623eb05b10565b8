"""Every path of the table of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cli.tree import TREE, Branch, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(branch: Branch = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, below in branch.below.items():
        if isinstance(below, Leaf):
            yield (*path, name)
        else:
            yield from leaves(below, (*path, name))


def branches(branch: Branch = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, below in branch.below.items():
        if isinstance(below, Branch):
            yield (*path, name)
            yield from branches(below, (*path, name))
