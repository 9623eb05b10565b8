"""A log that is damaged is told from one whose writing was cut off, whatever bit is flipped."""

from __future__ import annotations

import random
import sqlite3
import struct
from typing import TYPE_CHECKING

import pytest
from tests.support.sqlite_stores import (
    PAGE_BYTES,
    change_of,
    copy_to,
    fill,
    flipped,
    objects_at,
    opened,
    small_pages,
    state_in,
    state_or_refusal,
)

from bellcow.store import offline, sqlite_log
from bellcow.store.protocol import NO_HEAD, Corrupt
from bellcow.store.sqlite_log import End

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.store.protocol import Key

HEADER = 32
FRAME = 24 + PAGE_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_pages(tmp_path / "server/store.db")


def killed(path: Path, copy: Path, *, old: int, recent: int) -> Path:
    """The files of a store that was killed: `old` commits were settled, `recent` ones were not."""
    files = opened(path)
    fill(files, old)
    files.settle()
    fill(files, recent)
    copy_to(path, copy)
    files.close()
    return copy


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def frames_of(log: bytes) -> list[bool]:
    """Of each frame whether it ends a transaction."""
    starts = range(HEADER, len(log), FRAME)
    return [log[start + 4 : start + 8] != b"\0" * 4 for start in starts]


def in_last_transaction(log: bytes, place: int) -> bool:
    ends = [number for number, commits in enumerate(frames_of(log)) if commits]
    return place >= HEADER + (ends[-2] + 1) * FRAME


def check_flips(path: Path, tmp_path: Path, places: list[int], *, old: int, last: int) -> None:
    """Flip one bit at each place of the log: nothing settled is lost, and little of the rest."""
    log = log_of(path).read_bytes()
    chance = random.Random(7)
    for place in places:
        target = copy_to(path, tmp_path / "flipped/store.db")
        log_of(target).write_bytes(flipped(log, place * 8 + chance.randrange(8)))
        state = state_or_refusal(target)
        if isinstance(state, Corrupt):
            assert "store.db-wal: " in str(state)
            continue
        assert in_last_transaction(log, place)
        assert old < last
        assert state == (state[0], objects_at(last - 1))


@pytest.mark.parametrize(("old", "recent"), [(6, 0), (3, 3), (0, 6)])
def test_flipped_bit_in_the_log_never_opens_an_older_state(
    path: Path, tmp_path: Path, old: int, recent: int
) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=old, recent=recent)
    size = log_of(copy).stat().st_size
    places = [*range(0, HEADER, 4), *random.Random(old).sample(range(HEADER, size), 250)]
    check_flips(copy, tmp_path, places, old=old, last=old + recent)


@pytest.mark.slow
@pytest.mark.parametrize(("old", "recent"), [(6, 0), (3, 3), (0, 6)])
def test_flipped_bit_in_every_eleventh_byte_of_the_log_never_opens_an_older_state(
    path: Path, tmp_path: Path, old: int, recent: int
) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=old, recent=recent)
    places = list(range(0, log_of(copy).stat().st_size, 11))
    check_flips(copy, tmp_path, places, old=old, last=old + recent)


def test_log_whose_end_was_cut_off_opens_if_nothing_settled_is_lost(
    path: Path, tmp_path: Path
) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=4, recent=4)
    log = log_of(copy).read_bytes()
    seen = set()
    for cut in range(0, len(log), 53):
        target = copy_to(copy, tmp_path / "cut/store.db")
        log_of(target).write_bytes(log[:cut])
        state = state_or_refusal(target)
        if isinstance(state, Corrupt):
            seen.add("refused")
            continue
        assert state == (state[0], objects_at(state[0].index))
        seen.add(state[0].index)
    assert seen == {"refused", 4, 5, 6, 7}


def test_damage_is_named_with_its_file_and_frame_and_what_to_do(path: Path, tmp_path: Path) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=6, recent=0)
    log = log_of(copy).read_bytes()
    log_of(copy).write_bytes(flipped(log, (HEADER + 5 * FRAME + 100) * 8))
    with pytest.raises(Corrupt, match=r"store\.db-wal: frame 6 does not match.*Put back a copy"):
        opened(copy)
    with (
        pytest.raises(Corrupt, match=r"store\.db-wal: frame 6 does not match"),
        offline.opened(copy),
    ):
        pass


def test_frame_that_ends_the_log_is_named_when_the_mark_knows_more(
    path: Path, tmp_path: Path
) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=6, recent=0)
    log = log_of(copy).read_bytes()
    log_of(copy).write_bytes(flipped(log, (len(log) - 1) * 8))
    frames = len(frames_of(log))
    with pytest.raises(Corrupt, match=rf"was on disk.*store\.db-wal: frame {frames} does not"):
        opened(copy)


def test_log_is_empty_once_writes_have_rested(path: Path) -> None:
    files = opened(path)
    head = fill(files, 3)
    assert not files.settle()
    assert log_of(path).stat().st_size > 0
    assert files.settle()
    assert log_of(path).stat().st_size == 0
    files.commit(head, change_of(4, head))
    assert not files.settle()
    files.close()
    assert state_in(path)[1] == objects_at(4)


def test_log_stays_while_somebody_reads_and_is_emptied_later(path: Path) -> None:
    files = opened(path)
    fill(files, 3)
    files.settle()
    _, items = files.load()
    next(items)
    assert not files.settle()
    assert len(list(items)) + 1 == len(objects_at(3))
    assert files.settle()
    assert log_of(path).stat().st_size == 0
    files.close()


def test_what_an_earlier_round_of_the_log_has_left_is_no_damage(path: Path) -> None:
    files = opened(path)
    fill(files, 8)
    files._writer.execute("PRAGMA wal_checkpoint(RESTART)")
    fill(files, 1)
    assert 0 < sqlite_log.look(path).frames < log_of(path).stat().st_size // FRAME
    assert not sqlite_log.look(path).broken
    files.close()


def test_what_a_write_that_was_taken_back_has_left_is_no_damage(path: Path, tmp_path: Path) -> None:
    files = opened(path)
    head = fill(files, 3)
    files._writer.execute("PRAGMA cache_size = 4")  # so pages are in the log before the commit
    many: dict[Key, bytes | None] = {("t", f"{n}" * 50): b"x" * 400 for n in range(200)}
    with pytest.raises(UnicodeEncodeError):
        files.stage(head, 2, [*((key, value) for key, value in many.items() if value), broken()])
    fill(files, 1)
    end = sqlite_log.look(path)
    assert end.broken
    assert not end.damaged
    copy = copy_to(path, tmp_path / "copy/store.db")
    files.close()
    assert state_in(copy)[1] == objects_at(4)


def broken() -> tuple[Key, bytes]:
    return ("t", "\ud800"), b"this id cannot be written"


def test_log_that_is_not_there_or_not_begun_has_no_frames(path: Path) -> None:
    assert sqlite_log.look(path) == End()
    log_of(path).write_bytes(b"\0" * 31)
    assert sqlite_log.look(path) == End()


@pytest.mark.parametrize("size", [512, 4096, 65536])
def test_frames_are_counted_as_sqlite_does(tmp_path: Path, size: int) -> None:
    path = tmp_path / "some.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute(f"PRAGMA page_size = {size}")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (value)")
    for n in range(5):
        writer.execute("INSERT INTO t VALUES (?)", (b"%d" % n * 300,))
    ((_, frames, _),) = writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert sqlite_log.look(path) == End(frames=frames)
    writer.close()


def test_log_of_a_machine_with_the_other_order_of_bytes_is_read(path: Path) -> None:
    """What SQLite writes there: the same words, summed the other way round."""
    content = struct.pack(">6I", 0x377F0683, 3007000, PAGE_BYTES, 0, 1, 2)
    total = sqlite_log._summed(content, (0, 0), ">")
    log = content + struct.pack(">2I", *total)
    page = bytes(range(256)) * 2
    total = sqlite_log._summed(struct.pack(">2I", 1, 1) + page, total, ">")
    log_of(path).write_bytes(log + struct.pack(">6I", 1, 1, 1, 2, *total) + page)
    assert sqlite_log.look(path) == End(frames=1)
    log_of(path).write_bytes(flipped(log_of(path).read_bytes(), 8 * 9))
    assert sqlite_log.look(path).damaged


def test_state_of_a_killed_store_is_whole(path: Path, tmp_path: Path) -> None:
    copy = killed(path, tmp_path / "killed/store.db", old=3, recent=3)
    assert state_in(copy) == (change_of(6, change_of(5, NO_HEAD).head).head, objects_at(6))
