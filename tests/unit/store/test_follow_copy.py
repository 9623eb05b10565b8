"""The copy's file: generations of its own, and what happens when a write ends half-way."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.clock import SystemClock
from bellcow.model.hello import Cluster
from bellcow.store.follow_copy import ADVICE, open_copy
from bellcow.store.protocol import NO_HEAD, Change, Fenced, Head
from bellcow.store.sqlite_files import Files

HERD = Cluster("herd", 0)


def opened(path):
    copy, aside = open_copy(path, HERD, SystemClock())
    assert aside is None
    return copy


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server/follow.db"


def test_head_is_the_voters_while_the_file_counts_its_own_generations(path):
    head = Head(index=7, commit="c7", gen=4, gens=5, epoch=2)
    copy = opened(path)
    for expected in (1, 2):
        gen = copy.begin()
        assert gen == expected
        copy.stage(gen, [(("t", "a"), b"%d" % gen)])
        copy.switch(gen, head)
        assert copy.head == head
        assert dict(copy.load()) == {("t", "a"): b"%d" % gen}
    assert not copy.sweep()
    assert copy.sweep()
    copy.close()
    copy = opened(path)
    assert copy.head == head
    copy.close()


def test_what_a_failed_transfer_left_is_never_mixed_into_the_next(path):
    copy = opened(path)
    copy.stage(copy.begin(), [(("t", "litter"), b"1")])
    copy.close()
    copy = opened(path)
    assert copy.head == NO_HEAD
    gen = copy.begin()
    copy.switch(gen, Head(index=1, commit="c1"))
    assert dict(copy.load()) == {}
    copy.close()


def test_copy_knows_what_it_holds_after_a_write_that_failed(path):
    copy = opened(path)
    first = Head(index=1, commit="c1")
    copy.switch(copy.begin(), first)
    second = Head(index=2, commit="c2", prev="c1")
    behind = Files.commit

    def done_but_not_told(self, *args, **notes):
        behind(self, *args, **notes)
        raise Fenced("the answer is lost")

    Files.commit = done_but_not_told
    try:
        with pytest.raises(Fenced):
            copy.keep([Change(second, {})])
    finally:
        Files.commit = behind
    assert copy.head == second
    third = msgspec.structs.replace(second, index=3, commit="c3", prev="c2")
    copy.keep([Change(third, {})])
    assert copy.head == third
    copy.close()


@pytest.mark.parametrize("notes", [{}, {"follows": b"\xc1"}])
def test_file_that_does_not_name_its_cluster_is_set_aside(path, notes):
    files = Files(path, SystemClock(), ADVICE)
    files.commit(NO_HEAD, Change(Head(index=1, commit="c1"), {("t", "a"): b"1"}), **notes)
    files.close()
    copy, aside = open_copy(path, HERD, SystemClock())
    assert "its cluster" in aside.reason
    assert aside.path.exists()
    assert copy.head == NO_HEAD
    copy.close()


def test_log_of_a_file_that_is_set_aside_goes_with_it(path):
    copy = opened(path)
    copy.switch(copy.begin(), Head(index=1, commit="c1"))
    path.with_name("follow.db-wal").rename(path.with_name("saved"))
    copy.close()
    path.with_name("saved").rename(path.with_name("follow.db-wal"))
    path.unlink()
    copy, aside = open_copy(path, HERD, SystemClock())
    assert aside.path.with_name("follow.db.aside-1-wal").exists()
    copy.close()
