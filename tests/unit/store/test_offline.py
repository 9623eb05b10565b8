from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from bellcow.clock import SystemClock
from bellcow.store import offline
from bellcow.store.protocol import NO_HEAD, Corrupt, Head, Unavailable
from bellcow.store.sqlite import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = Head(index=5, commit="a", ops=2, gen=1, gens=1)
OBJECTS = {("namespaces", "default"): b"\x80", ("namespaces", "web"): b"\x81\xa1a\x01"}


def listed(path: Path) -> tuple[Head, dict[tuple[str, str], bytes]]:
    with offline.opened(path) as (head, items):
        return head, dict(items)


async def fill(path: Path, while_open: Callable[[], None] = lambda: None) -> None:
    store = await open_store(path, SystemClock())
    await store.commit(NO_HEAD, ONE, OBJECTS)
    await store.stage(ONE, 2, [(("namespaces", "unseen"), b"\x80")])
    while_open()
    await store.close()


async def test_a_stopped_store_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert listed(path) == (ONE, OBJECTS)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


async def test_a_store_that_is_in_use_is_read_as_of_its_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    seen: list[object] = []
    await fill(path, lambda: seen.append(listed(path)))
    assert seen == [(ONE, OBJECTS)]
    assert listed(path) == (ONE, OBJECTS)


async def test_a_writer_is_not_held_up_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    later = Head(index=6, commit="b", prev="a", ops=1, gen=1, gens=1)

    store = await open_store(path, SystemClock())
    await store.commit(NO_HEAD, ONE, OBJECTS)
    with offline.opened(path) as (head, items):
        await store.commit(ONE, later, {("namespaces", "web"): None})
        assert (head, dict(items)) == (ONE, OBJECTS)
    await store.close()
    assert listed(path)[0] == later


async def test_a_store_that_was_never_written_holds_nothing(tmp_path: Path) -> None:
    await (await open_store(tmp_path / "store.db", SystemClock())).close()
    assert listed(tmp_path / "store.db") == (NO_HEAD, {})


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE objects SET value = x'81'", "checksum of an object in b'namespaces' does not"),
        ("UPDATE head SET value = x'81'", "checksum of its head does not match"),
        ("UPDATE objects SET value = 7", "damaged"),
        ("DROP TABLE objects", "no such table"),
    ],
)
async def test_a_damaged_store_is_refused(tmp_path: Path, statement: str, what: str) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(Corrupt, match=what):
        listed(path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Corrupt, match="file is not a database"):
        listed(tmp_path / "store.db")


async def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    await fill(tmp_path / "store.db")
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(Unavailable, match="has format 9 and this program knows 2"):
        listed(tmp_path / "store.db")


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"store\.db: unable to open database file"):
        listed(tmp_path / "store.db")
