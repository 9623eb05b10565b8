"""The file as earlier versions wrote it: what these values are, stored checksums hang on."""

from __future__ import annotations

import contextlib
import sqlite3

from bellcow.store.sqlite_format import FORMAT, TABLES, has_tables, object_sum, record_sum


def test_checksums_are_those_of_files_that_exist():
    assert object_sum(1, b"namespaces", b"web", b"\x80") == 1661402797
    assert record_sum(b"head", b"\x80") == 1555157452


def test_checksum_covers_the_place_of_a_value():
    sums = {
        object_sum(1, b"a", b"b", b"c"),
        object_sum(2, b"a", b"b", b"c"),
        object_sum(1, b"ab", b"", b"c"),
        object_sum(1, b"", b"ab", b"c"),
        object_sum(1, b"a", b"bc", b""),
    }
    assert len(sums) == 5


def test_new_file_says_its_format():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        assert not has_tables(connection)
        connection.executescript(TABLES)
        assert has_tables(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
