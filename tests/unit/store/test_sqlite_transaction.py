"""The totals that a transaction keeps are those of the rows, whatever it writes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from bellcow.store.protocol import Change, Head
from bellcow.store.sqlite_connection import connect
from bellcow.store.sqlite_format import TABLES, Totals, counted, read_records, read_rows
from bellcow.store.sqlite_transaction import Transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@contextlib.contextmanager
def tables() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(":memory:")) as connection:
        connection.executescript(TABLES)
        yield connection


writes = st.lists(
    st.tuples(
        st.integers(1, 2), st.sampled_from("abc"), st.one_of(st.none(), st.binary(max_size=3))
    )
)


@given(writes, writes)
def test_totals_are_those_of_the_rows_after_any_writes(first, second):
    with tables() as connection:
        totals = Totals()
        for number, batch in enumerate((first, second), 1):
            transaction = Transaction(connection, totals)
            for gen, name, value in batch:
                if value is None:
                    transaction.delete(gen, ("t", name))
                else:
                    transaction.put(gen, ("t", name), value)
            totals = transaction.totals()
            assert totals == counted(connection, number)


def test_commit_is_written_to_its_own_generation():
    with tables() as connection:
        transaction = Transaction(connection, Totals())
        transaction.put(1, ("t", "a"), b"kept")
        transaction.put(2, ("t", "a"), b"old")
        head = Head(index=1, commit="c1", gen=2, ops=2)
        transaction.apply(Change(head, {("t", "a"): None, ("t", "b"): b"new"}))
        assert list(read_rows(connection)) == [(1, b"t", b"a", b"kept"), (2, b"t", b"b", b"new")]


def test_record_is_replaced_and_not_counted():
    with tables() as connection:
        transaction = Transaction(connection, Totals())
        transaction.put_record("head", b"1")
        transaction.put_record("head", b"2")
        assert read_records(connection) == {"head": b"2"}
        assert transaction.totals() == Totals(writes=1)
