"""What is checked before a store's file is opened for writing. Nothing is changed by it.

A file is refused if it is missing, damaged, of another format, or older than its mark says. It must
not be read as an older state or as an empty store.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bellcow.store import sqlite_log
from bellcow.store.protocol import Unavailable
from bellcow.store.sqlite_connection import beside, connect_unshared, has_bytes
from bellcow.store.sqlite_format import (
    BEFORE_TOTALS,
    FORMAT,
    Totals,
    check_totals,
    has_tables,
    read_records,
)
from bellcow.store.sqlite_mark import older_than

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from bellcow.store.sqlite_errors import Refusals
    from bellcow.store.sqlite_mark import Mark


def check_present(path: Path, mark: Mark, refusals: Refusals) -> None:
    """Check that the file is there if something was stored in it.

    Raises:
        Corrupt: it is missing or empty.
    """
    if has_bytes(path):
        return
    if mark.written:
        raise refusals.corrupt("it is missing or empty, and something was stored in it")
    if has_bytes(beside(path, "-wal")):
        raise refusals.corrupt("it is missing or empty, but its write-ahead log is there")


def check_content(path: Path, mark: Mark, refusals: Refusals) -> None:
    """Check a file before SQLite opens it for writing.

    The file is read only, so that a refusal leaves it and its log as they are.

    Raises:
        Corrupt: the file or its log is damaged.
        Unavailable: the file has another format.
    """
    end = sqlite_log.look(path)
    log = f"its write-ahead log {path.name}-wal: {end.broken}"
    if end.damaged:  # SQLite would open it as an older state
        raise refusals.corrupt(f"{log}, and what was written later follows it")
    # A log that breaks off explains why the state is older than it should be.
    ending = f"; {log}" if end.broken else ""
    with contextlib.closing(connect_unshared(path)) as reader:
        _check_pages(reader, refusals)
        version = _check_format(reader, path)
        _check_rows(reader, version, mark, refusals, ending)


def _check_pages(reader: sqlite3.Connection, refusals: Refusals) -> None:
    findings = [row[0].decode() for row in reader.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise refusals.corrupt("; ".join(findings))


def _check_format(reader: sqlite3.Connection, path: Path) -> int:
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    if has_tables(reader) and version not in {BEFORE_TOTALS, FORMAT}:
        raise Unavailable(
            f"{path} has format {version} and this program knows {FORMAT}:"
            " start the version that wrote it"
        )
    return int(version)


def _check_rows(
    reader: sqlite3.Connection, version: int, mark: Mark, refusals: Refusals, ending: str
) -> None:
    """Compare the rows with the totals, and the totals with the mark."""
    filled = has_tables(reader)
    with refusals.damage_named():
        records = read_records(reader) if filled else {}
    if mark.written and "head" not in records:
        raise refusals.corrupt(f"it holds no head, and something was stored in it{ending}")
    with refusals.damage_named():
        totals = check_totals(reader, records, version) if filled else Totals()
    if older := older_than(totals, mark.remembered):
        raise refusals.corrupt(f"{older}{ending}")
