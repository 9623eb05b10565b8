"""Who may open the files of a store, and when a connection ends."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest
from tests.support.sqlite_stores import fill, opened

from bellcow.store.protocol import Unavailable


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


def test_rights_of_other_users_are_removed_and_reported(closed):
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


def test_rights_of_other_users_that_cannot_be_removed_refuse_the_start(closed, monkeypatch):
    def chmod(self, mode):
        raise PermissionError(1, "Operation not permitted", str(self))

    closed.chmod(0o640)
    monkeypatch.setattr(type(closed), "chmod", chmod)
    with pytest.raises(Unavailable, match="can be read by other users"):
        opened(closed)


def test_unused_load_closes_its_connection(path):
    with contextlib.closing(opened(path)) as files:
        objects = files.load()[1]
        connection = objects.gi_frame.f_locals["reader"].connection
        del objects
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
