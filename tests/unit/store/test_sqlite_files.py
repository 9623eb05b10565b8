"""What a store's file promises, and what becomes of it when damaged."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bellcow.clock import SystemClock
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Corrupt,
    Fenced,
    Head,
    NoSpace,
    StoreError,
    Unavailable,
    Unknown,
)
from bellcow.store.sqlite_files import Files

if TYPE_CHECKING:
    from bellcow.store.protocol import Key

SUFFIXES = ("", "-wal", ".mark")


def change_of(index: int, known: Head) -> Change:
    """The commit with this index, the same in each process that makes it."""
    changes: dict[Key, bytes | None] = {
        ("t", str(index % 20)): b"%d" % index,
        ("t", str((index + 7) % 20)): None,
        ("u", str(index % 3)): b"%d" % index * 30,
    }
    head = Head(index=index, commit=f"c{index}", prev=known.commit, ops=len(changes))
    return Change(head, changes)


def objects_at(index: int) -> dict[Key, bytes]:
    objects: dict[Key, bytes] = {}
    head = NO_HEAD
    for number in range(1, index + 1):
        change = change_of(number, head)
        head = change.head
        for key, value in change.changes.items():
            objects.pop(key, None)
            if value is not None:
                objects[key] = value
    return objects


def fill(files: Files, commits: int) -> Head:
    head = files.read_head()
    for index in range(head.index + 1, head.index + 1 + commits):
        change = change_of(index, head)
        files.commit(head, change)
        head = change.head
    return head


def opened(path: Path) -> Files:
    return Files(path, SystemClock())


def state_in(path: Path) -> tuple[Head, dict[Key, bytes]]:
    files = opened(path)
    try:
        head, items = files.load()
        return head, dict(items)
    finally:
        files.close()


def state_or_refusal(path: Path) -> tuple[Head, dict[Key, bytes]] | StoreError:
    try:
        return state_in(path)
    except StoreError as error:
        if str(path) not in str(error):
            raise
        return error


def is_open(path: Path) -> bool:
    """Whether this process has it open."""
    files = [*Path("/proc/self/fd").iterdir()]
    return path in {each.readlink() for each in files if each.is_symlink()}


def copy_to(source: Path, target: Path) -> Path:
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(mode=0o700)
    for suffix in SUFFIXES:
        if source.with_name(source.name + suffix).exists():
            shutil.copy(
                source.with_name(source.name + suffix), target.parent / (target.name + suffix)
            )
    return target


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server/store.db"


@pytest.fixture
def closed(path):
    """A store of 40 commits, cleanly closed."""
    files = opened(path)
    fill(files, 40)
    files.close()
    return path


@pytest.fixture
def crashed(path, tmp_path):
    """The files of a store that was killed after a few commits: all of them in the log."""
    path.parent.mkdir(mode=0o700)
    small = sqlite3.connect(path)
    small.execute("PRAGMA page_size = 512")  # keeps the log short
    small.execute("VACUUM")
    small.close()
    files = opened(path)
    fill(files, 4)
    copy = copy_to(path, tmp_path / "crashed/store.db")
    files.close()
    return copy


def test_store_that_was_never_written_may_be_opened_again_and_again(path):
    for _ in range(3):
        assert state_in(path) == (NO_HEAD, {})


def test_files_are_for_the_owner_only_under_any_umask(path):
    before = os.umask(0)
    try:
        files = opened(path)
        fill(files, 2)
        _, items = files.load()
        next(items)
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
        files.close()
    finally:
        os.umask(before)
    assert set(modes) == {"store.db", "store.db-wal", "store.db-shm", "store.db.mark"}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_rights_of_others_are_taken_away_and_reported(closed):
    closed.chmod(0o644)
    closed.parent.chmod(0o755)
    files = opened(closed)
    files.close()
    assert files.tightened == (closed.parent, closed)
    assert closed.stat().st_mode & 0o777 == 0o600
    assert closed.parent.stat().st_mode & 0o777 == 0o700
    files = opened(closed)
    files.close()
    assert files.tightened == ()


def test_rights_of_others_that_cannot_be_taken_away_refuse_the_start(closed, monkeypatch):
    def chmod(self, mode):
        raise PermissionError(1, "Operation not permitted", str(self))

    closed.chmod(0o640)
    monkeypatch.setattr(type(closed), "chmod", chmod)
    with pytest.raises(Unavailable, match="can be read by other users"):
        opened(closed)


def test_second_process_is_kept_out_while_the_first_lives(path):
    files = opened(path)
    with pytest.raises(Unavailable, match="in use by another process"):
        opened(path)
    files.close()
    opened(path).close()


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


def test_nothing_is_acknowledged_into_a_file_that_was_deleted(path):
    files = opened(path)
    head = fill(files, 3)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(Corrupt, match="deleted or replaced"):
        files.commit(head, change_of(4, head))
    path.write_bytes(b"another")
    with pytest.raises(Corrupt, match="deleted or replaced"):
        files.commit(head, change_of(4, head))
    path.unlink()
    path.with_name("elsewhere").rename(path)
    files.commit(head, change_of(4, head))
    files.close()
    assert state_in(path)[1] == objects_at(4)


def test_commit_that_breaks_in_the_middle_leaves_nothing(path):
    files = opened(path)
    head = fill(files, 3)
    broken = {("t", "fine"): b"1", ("t", "\ud800"): b"2"}
    with pytest.raises(UnicodeEncodeError):
        files.commit(head, Change(Head(index=4, commit="c4", prev="c3", ops=2), broken))
    files.close()
    assert state_in(path) == (head, objects_at(3))


def test_several_commits_and_their_notes_are_written_as_one(path):
    files = opened(path)
    head = fill(files, 3)
    four = change_of(4, head)
    five = change_of(5, four.head)
    files.commit(head, four, five, whose=b"ours")
    with pytest.raises(Fenced):
        files.commit(head, change_of(6, five.head), whose=b"theirs")
    files.close()
    files = opened(path)
    assert (files.head, files.note("whose"), files.note("other")) == (five.head, b"ours", None)
    files.close()
    assert state_in(path) == (five.head, objects_at(5))


def test_lowest_and_highest_generation_of_objects_are_told(path):
    files = opened(path)
    assert files.generations() == frozenset()
    files.stage(NO_HEAD, 3, [(("t", "a"), b"1")])
    assert files.generations() == {3}
    files.stage(NO_HEAD, 7, [(("t", "a"), b"1")])
    files.stage(NO_HEAD, 5, [(("t", "a"), b"1")])
    assert files.generations() == {3, 7}
    files.close()


def test_damaged_file_is_refused_with_the_advice_of_its_owner(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database at all " * 300)
    with pytest.raises(Corrupt, match=r"\. Ask your cow\.$"):
        Files(path, SystemClock(), "Ask your cow.")


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


def test_refused_file_and_its_log_are_left_as_they_are(crashed):
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


def test_mark_that_was_not_written_in_time_is_written_at_the_next_start(crashed):
    (crashed.parent / "store.db.mark").write_bytes(b"")
    assert state_in(crashed)[0].index == 4
    assert b"holds data since" in (crashed.parent / "store.db.mark").read_bytes()


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


def flipped(whole: bytes, bit: int) -> bytes:
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


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


def test_load_that_meets_a_damaged_object_says_so_while_the_store_runs(path):
    files = opened(path)
    fill(files, 4)
    other = sqlite3.connect(path)
    other.execute("UPDATE objects SET value = 'text' WHERE tbl = 'u' AND id = '1'")
    other.commit()
    other.close()
    _, items = files.load()
    with pytest.raises(Corrupt, match="checksum of an object"):
        list(items)
    files.close()


def test_load_that_nobody_takes_an_object_of_closes_its_connection(path):
    with contextlib.closing(opened(path)) as files:
        objects = files.load()[1]
        connection = objects.gi_frame.f_locals["reader"].connection
        del objects
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_load_cut_off_by_closing_is_an_error_and_not_a_short_state(path):
    files = opened(path)
    fill(files, 4)
    files.load()
    _, begun = files.load()
    next(begun)
    files.close()
    with pytest.raises(Unavailable):
        list(begun)
    assert state_in(path)[1] == objects_at(4)


def test_store_may_be_closed_while_another_thread_reads(path):
    """A connection that is closed under a reader takes the whole process with it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        for number in range(300):
            files = opened(path)
            if files.head == NO_HEAD:
                fill(files, 300)
            _, items = files.load()
            with ThreadPoolExecutor(1) as other:
                reading = other.submit(lambda items=items: list(items))
                for _ in range(number * 10):
                    pass
                files.close()
                with contextlib.suppress(Unavailable):
                    assert dict(reading.result()) == objects_at(300)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, NoSpace),
        (sqlite3.SQLITE_IOERR_WRITE, NoSpace),
        (sqlite3.SQLITE_IOERR_FSYNC, Unknown),
        (sqlite3.SQLITE_CORRUPT, Corrupt),
        (sqlite3.SQLITE_CORRUPT_INDEX, Corrupt),
        (sqlite3.SQLITE_NOTADB, Corrupt),
        (sqlite3.SQLITE_BUSY, Unavailable),
        (sqlite3.SQLITE_READONLY, Unavailable),
        (sqlite3.SQLITE_IOERR_READ, Unavailable),
    ],
)
def test_each_kind_of_failure_is_told_apart(path, code, kind):
    files = opened(path)
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    try:
        refusal = files._refusal(error)
        assert type(refusal) is kind
        assert "it failed" in str(refusal)
        assert str(path) in str(refusal)
        assert "store" in refusal.told or "disk" in refusal.told
        assert not re.search(r"it failed|SQLITE|store\.db|/", refusal.told)
    finally:
        files.close()


FULL = """
import resource, sys
from pathlib import Path
from bellcow.clock import SystemClock
from bellcow.store.protocol import Change, Head, NoSpace
from bellcow.store.sqlite_files import Files

path = Path(sys.argv[1])
files = Files(path, SystemClock())
head, done = files.head, 0

def commit(index):
    global head
    new = Head(index=index, commit=f"c{index}", prev=head.commit, ops=2)
    files.commit(head, Change(new, {("t", "same"): b"%d" % index, ("t", str(index)): b"x" * 5000}))
    head = new

for index in range(1, 6):
    commit(index)
limit = path.with_name("store.db-wal").stat().st_size + 9000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
index = 6
try:
    while True:
        commit(index)
        index += 1
except NoSpace as error:
    assert "full" in str(error)
try:
    commit(index)
    raise SystemExit("a second write succeeded")
except NoSpace:
    pass
loaded, items = files.load()
objects = dict(items)
assert loaded == head and objects[("t", "same")] == b"%d" % head.index and len(objects) == index
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
commit(index)
files.close()
print(index)
"""


def test_full_disk_refuses_writes_serves_reads_and_recovers_by_itself(path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    head, objects = state_in(path)
    assert head.index == int(done.stdout)
    assert len(objects) == head.index + 1


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_sqlite_files import change_of, opened

files = opened(Path(sys.argv[1]))
head = files.head
while True:
    change = change_of(head.index + 1, head)
    files.commit(head, change)
    head = change.head
    sys.stdout.write(f"{head.index}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(path):
    chance = random.Random(3)
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), os.path.dirname(__file__)],  # noqa: PTH120  a plain string for another process
            stdout=subprocess.PIPE,
        )
        for _ in range(chance.randrange(1, 200)):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        acknowledged = [line for line in child.stdout.read().split(b"\n") if line]
        child.stdout.close()
        child.wait()
        head, objects = state_in(path)
        if acknowledged:
            assert head.index >= int(acknowledged[-1])
        assert objects == objects_at(head.index)
    assert head.index > 20


def test_hundred_thousand_objects_are_opened_and_read_in_under_a_second(path):
    files = opened(path)
    for chunk in range(100):
        items = [(("t", f"{chunk * 1_000 + n:036}"), b"y" * 300) for n in range(1_000)]
        files.stage(NO_HEAD, 1, items)
    head = Head(index=1, commit="c1", gen=1, gens=1)
    files.commit(NO_HEAD, Change(head, {}))
    files.close()
    begin = time.process_time()  # not the time that others take of this machine
    loaded, objects = state_in(path)
    spent = time.process_time() - begin
    assert (loaded, len(objects)) == (head, 100_000)
    assert spent < 1
