"""A store that is missing, damaged or of another format is refused, and never read as less."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.support.sqlite_stores import (
    change_of,
    copy_to,
    fill,
    flipped,
    is_open,
    objects_at,
    opened,
    state_or_refusal,
)

from bellcow.store.protocol import NO_HEAD, Corrupt, StoreError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("damage", ["deleted", "emptied", "deleted while running", "database only"])
def test_store_that_is_gone_is_refused_and_never_read_as_empty(path, damage):
    files = opened(path)
    fill(files, 3)
    if damage == "deleted while running":
        path.unlink()
    files.close()
    if damage == "deleted":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "database only":
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM head")
        connection.commit()
        connection.close()
    there = path.exists()
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"store\.db is damaged.*operator snapshot restore"):
            opened(path)
        assert path.exists() == there


def test_pages_that_do_not_add_up_are_refused_though_every_object_is_there(closed):
    whole = bytearray(closed.read_bytes())
    whole[36:40] = (5).to_bytes(4, "big")  # SQLite's count of free pages, which are not there
    closed.write_bytes(whole)
    with pytest.raises(Corrupt, match=r"[Ff]reelist"):
        opened(closed)


def test_lost_log_of_a_store_without_checkpoint_is_refused(crashed):
    (crashed.parent / "store.db-wal").unlink()
    with pytest.raises(Corrupt, match="something was stored in it"):
        opened(crashed)


def test_refused_file_and_its_log_are_unchanged(crashed):
    log = crashed.with_name("store.db-wal")
    frame = 24 + 512
    log.write_bytes(log.read_bytes()[: 32 + 4 * frame])  # the tables, and no head
    before = (crashed.read_bytes(), log.read_bytes())
    for _ in range(2):
        with pytest.raises(Corrupt, match="holds no head"):
            opened(crashed)
        assert (crashed.read_bytes(), log.read_bytes()) == before


def test_log_without_its_store_is_refused(crashed):
    crashed.unlink()
    (crashed.parent / "store.db.mark").unlink()
    with pytest.raises(Corrupt, match="write-ahead log is there"):
        opened(crashed)


def test_file_of_something_else_is_refused_and_left_alone(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database at all " * 300)
    with pytest.raises(Corrupt, match="not a database") as refusal:
        opened(path)
    assert not is_open(path), f"{refusal.value} keeps it open"
    assert path.read_bytes() == b"not a database at all " * 300


def test_format_of_a_newer_version_is_refused_by_name(closed):
    connection = sqlite3.connect(closed)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(Unavailable, match="format 3 and this program knows 2"):
        opened(closed)


def check_log_cut_at(crashed: Path, tmp_path: Path, cuts: range) -> None:
    log = (crashed.parent / "store.db-wal").read_bytes()
    known = [(index, objects_at(index)) for index in range(1, 5)]
    seen = set()
    for cut in cuts:
        path = copy_to(crashed, tmp_path / "cut/store.db")
        (path.parent / "store.db-wal").write_bytes(log[:cut])
        state = state_or_refusal(path)
        assert isinstance(state, Corrupt) or (state[0].index, state[1]) in known
        seen.add("refused" if isinstance(state, Corrupt) else state[0].index)
    assert seen == {"refused", 1, 2, 3}


def test_log_cut_anywhere_gives_an_acknowledged_state_or_a_refusal(crashed, tmp_path):
    size = (crashed.parent / "store.db-wal").stat().st_size
    check_log_cut_at(crashed, tmp_path, range(0, size, 101))


@pytest.mark.slow
def test_log_cut_at_every_byte_gives_an_acknowledged_state_or_a_refusal(crashed, tmp_path):
    size = (crashed.parent / "store.db-wal").stat().st_size
    check_log_cut_at(crashed, tmp_path, range(size))


def check_damage(closed: Path, tmp_path: Path, damaged: bytes) -> bool:
    """Whether it is refused; if not, the whole state must be there."""
    path = copy_to(closed, tmp_path / "damaged/store.db")
    path.write_bytes(damaged)
    state = state_or_refusal(path)
    if isinstance(state, StoreError):
        return True
    assert state == (change_of(40, change_of(39, NO_HEAD).head).head, objects_at(40))
    return False


def test_store_cut_anywhere_is_refused(closed, tmp_path):
    whole = closed.read_bytes()
    for cut in range(0, len(whole), 257):
        assert check_damage(closed, tmp_path, whole[:cut])


def test_flipped_bit_is_refused_or_harmless(closed, tmp_path):
    whole = closed.read_bytes()
    bits = random.Random(1).sample(range(len(whole) * 8), 150)
    refused = [check_damage(closed, tmp_path, flipped(whole, bit)) for bit in bits]
    assert any(refused)


@pytest.mark.slow
def test_flipped_bit_in_any_written_byte_is_refused_or_harmless(closed, tmp_path):
    whole = closed.read_bytes()
    chance = random.Random(2)
    refused = 0
    written = [place for place, byte in enumerate(whole) if byte]
    for place in written:
        bit = place * 8 + chance.randrange(8)
        refused += check_damage(closed, tmp_path, flipped(whole, bit))
    assert refused > len(written) // 2
