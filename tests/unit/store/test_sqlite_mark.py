"""An older copy, or pages of one, never pass for the present state; the mark itself may break."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.support.sqlite_stores import (
    PAGE_BYTES,
    copy_to,
    fill,
    flipped,
    objects_at,
    opened,
    small_pages,
    state_in,
    state_or_refusal,
)

from bellcow.store import offline
from bellcow.store.protocol import Change, Corrupt, Head, Unavailable
from bellcow.store.sqlite_format import Totals
from bellcow.store.sqlite_mark import Mark, mark_of, older_than, remembered_beside

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.store.protocol import Key
    from bellcow.store.sqlite_files import Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_pages(tmp_path / "server/store.db")


def two_ages(path: Path, tmp_path: Path) -> tuple[bytes, bytes]:
    """The database after 40 commits, and after 50."""
    ages = []
    for commits in (40, 10):
        files = opened(path)
        fill(files, commits)
        files.close()
        ages.append(path.read_bytes())
    copy_to(path, tmp_path / "kept/store.db")
    return ages[0], ages[1]


def test_older_copy_of_the_whole_file_is_refused(path: Path, tmp_path: Path) -> None:
    older, _ = two_ages(path, tmp_path)
    path.write_bytes(older)
    with pytest.raises(Corrupt, match=r"store\.db is damaged: it ends at write .* older copy"):
        opened(path)
    with pytest.raises(Corrupt, match="older copy"), offline.opened(path):
        pass


def check_mixed_pages(path: Path, tmp_path: Path, chance: random.Random, mixes: int) -> None:
    """Put pages of an earlier age into the file: it is refused, or the whole state is there."""
    wanted: dict[Key, bytes] = {}
    ages = []
    for commits in (40, chance.randrange(1, 20)):
        files = opened(path)
        for _ in range(commits):
            work(files, wanted, chance)
        files.close()
        ages.append(path.read_bytes())
    copy_to(path, tmp_path / "kept/store.db")
    older, newer = ages
    places = range(0, min(len(older), len(newer)), PAGE_BYTES)
    differ = [at for at in places if older[at : at + PAGE_BYTES] != newer[at : at + PAGE_BYTES]]
    assert len(differ) > 5
    refused = 0
    for number in range(mixes):
        some = chance.randrange(1, len(differ)) if number % 2 else 1
        mixed = bytearray(newer)
        for at in chance.sample(differ, some):
            mixed[at : at + PAGE_BYTES] = older[at : at + PAGE_BYTES]
        target = copy_to(tmp_path / "kept/store.db", tmp_path / "mixed/store.db")
        target.write_bytes(mixed)
        state = state_or_refusal(target)
        refused += isinstance(state, Corrupt)
        if not isinstance(state, Corrupt):
            assert state[1] == wanted
    assert refused > mixes // 2


def work(files: Files, wanted: dict[Key, bytes], chance: random.Random) -> None:
    """One commit of what may come."""
    changes: dict[Key, bytes | None] = {}
    for _ in range(chance.randrange(1, 12)):
        key = ("t", str(chance.randrange(300)))
        value = chance.randbytes(chance.choice([3, 60, 900])) if chance.random() < 0.7 else None
        changes[key] = value
        wanted.pop(key, None)
        if value is not None:
            wanted[key] = value
    known = files.read_head()
    index = known.index + 1
    head = Head(index=index, commit=f"c{index}", prev=known.commit, ops=len(changes))
    files.commit(known, Change(head, changes))
    if chance.random() < 0.2:
        files.settle()


def test_file_with_pages_that_are_older_than_the_rest_is_refused(
    path: Path, tmp_path: Path
) -> None:
    check_mixed_pages(path, tmp_path, random.Random(1), 60)


@pytest.mark.slow
def test_no_old_page_in_any_of_many_histories_passes(path: Path, tmp_path: Path) -> None:
    empty = path.read_bytes()
    for seed in range(10):
        mark_of(path).unlink(missing_ok=True)
        path.write_bytes(empty)
        check_mixed_pages(path, tmp_path, random.Random(seed), 100)


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM objects WHERE id = '1'",
        "INSERT INTO objects SELECT gen, tbl, 'copy', value, sum FROM objects WHERE id = '1'",
        "UPDATE objects SET sum = sum + 1 WHERE id = '1'",
        "DELETE FROM head WHERE name = 'totals'",
    ],
)
def test_rows_that_do_not_add_up_are_refused_though_each_is_well(path: Path, loss: str) -> None:
    files = opened(path)
    fill(files, 10)
    files.close()
    connection = sqlite3.connect(path)
    assert connection.execute(loss).rowcount > 0
    connection.commit()
    connection.close()
    with pytest.raises(Corrupt, match=r"store\.db is damaged: (it has|its totals)"):
        opened(path)
    with pytest.raises(Corrupt, match=r"(it has|its totals)"), offline.opened(path):
        pass


def test_store_of_the_format_before_opens_and_gets_its_totals(path: Path) -> None:
    files = opened(path)
    fill(files, 10)
    files.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM head WHERE name = 'totals'")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    mark_of(path).write_text("The store beside this file holds data since 2026-11-23T14:00:32Z.\n")
    with offline.opened(path) as (_, items):
        assert dict(items) == objects_at(10)
    files = opened(path)
    fill(files, 5)
    files.close()
    lines = mark_of(path).read_text().splitlines()
    assert lines[0].rstrip() == "The store beside this file holds data since 2026-11-23T14:00:32Z."
    assert remembered_beside(path).rows == len(objects_at(15))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    assert state_in(path)[1] == objects_at(15)


def test_staged_and_dropped_objects_are_counted(path: Path) -> None:
    files = opened(path)
    head = fill(files, 10)
    files.stage(head, 7, [(("t", str(n % 1_500)), b"x" * (n % 7)) for n in range(3_000)])
    files.settle()
    assert remembered_beside(path).rows == len(objects_at(10)) + 1_500
    assert not files.drop(head, 7)
    files.close()
    files = opened(path)
    assert files.drop(head, 7)
    files.close()
    assert remembered_beside(path).rows == len(objects_at(10))
    assert state_in(path)[1] == objects_at(10)


# The mark itself


def test_mark_keeps_what_it_was_told_last(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    mark = Mark(path)
    mark.remember(Totals(1, 2, 3))
    assert (mark.written, mark.remembered) == (False, Totals())
    mark.begin("2026-11-23")
    for writes in range(1, 6):
        mark.remember(Totals(writes, 2, 3))
    mark.close()
    mark = Mark(path)
    assert (mark.written, mark.remembered) == (True, Totals(5, 2, 3))
    assert remembered_beside(path) == Totals(5, 2, 3)
    mark.close()
    text = mark_of(path).read_text()
    assert [len(line) for line in text.splitlines()] == [127] * 3


def test_mark_that_is_damaged_anywhere_remembers_the_last_or_the_one_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    mark = Mark(path)
    mark.begin("2026-11-23")
    mark.remember(Totals(41, 7, 123_456))
    mark.remember(Totals(42, 7, 123_457))
    mark.close()
    whole = mark_of(path).read_bytes()
    seen = set()
    for bit in range(0, len(whole) * 8, 5):
        mark_of(path).write_bytes(flipped(whole, bit))
        seen.add(remembered_beside(path).writes)
    assert seen == {41, 42}
    for cut in range(len(whole) - 128, len(whole)):
        mark_of(path).write_bytes(whole[:cut])
        assert remembered_beside(path).writes >= 41


def test_longest_numbers_fit_into_the_line_of_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    mark = Mark(path)
    mark.begin("2026-11-23")
    largest = Totals(2**63 - 1, 2**40, 2**63 - 1)
    mark.remember(largest)
    mark.close()
    assert remembered_beside(path) == largest
    assert mark_of(path).stat().st_size <= 128 * 3


def test_mark_is_for_one_process_and_no_link_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    mark = Mark(path)
    with pytest.raises(Unavailable, match="in use by another process"):
        Mark(path)
    mark.close()
    mark_of(path).rename(tmp_path / "elsewhere")
    mark_of(path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Mark(path)


def test_where_there_is_no_mark_nothing_is_remembered(tmp_path: Path) -> None:
    assert remembered_beside(tmp_path / "store.db") == Totals()
    assert not older_than(Totals(), Totals())
