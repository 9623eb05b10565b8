"""What the file of a store promises about commits, reads and a full disk."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.sqlite_stores import change_of, fill, objects_at, opened, state_in

from bellcow.store.protocol import NO_HEAD, Change, Corrupt, Fenced, Head, Unavailable


def test_store_that_was_never_written_may_be_opened_again_and_again(path):
    for _ in range(3):
        assert state_in(path) == (NO_HEAD, {})


def test_second_process_is_refused_while_the_first_lives(path):
    files = opened(path)
    with pytest.raises(Unavailable, match="in use by another process"):
        opened(path)
    files.close()
    opened(path).close()


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


def test_generations_are_the_lowest_and_the_highest_with_objects(path):
    files = opened(path)
    assert files.generations() == frozenset()
    files.stage(NO_HEAD, 3, [(("t", "a"), b"1")])
    assert files.generations() == {3}
    files.stage(NO_HEAD, 7, [(("t", "a"), b"1")])
    files.stage(NO_HEAD, 5, [(("t", "a"), b"1")])
    assert files.generations() == {3, 7}
    files.close()


def test_mark_that_was_not_written_in_time_is_written_at_the_next_start(crashed):
    (crashed.parent / "store.db.mark").write_bytes(b"")
    assert state_in(crashed)[0].index == 4
    assert b"holds data since" in (crashed.parent / "store.db.mark").read_bytes()


def test_load_of_a_damaged_object_is_corrupt_while_the_store_runs(path):
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
from tests.support.sqlite_stores import change_of, opened

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
            [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parents[3])],
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
