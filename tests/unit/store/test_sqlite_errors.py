"""Each kind of failure is another error, and clients read nothing of files and libraries."""

from __future__ import annotations

import re
import sqlite3

import pytest

from bellcow.clock import SystemClock
from bellcow.store.protocol import Corrupt, NoSpace, Unavailable, Unknown
from bellcow.store.sqlite_errors import Refusals
from bellcow.store.sqlite_files import Files


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
def test_each_kind_of_failure_is_another_error(path, code, kind):
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    refusal = Refusals(path, "").of(error)
    assert type(refusal) is kind
    assert "it failed" in str(refusal)
    assert str(path) in str(refusal)
    assert "store" in refusal.for_clients or "disk" in refusal.for_clients
    assert not re.search(r"it failed|SQLITE|store\.db|/", refusal.for_clients)


def test_damaged_file_is_refused_with_the_advice_of_its_owner(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database at all " * 300)
    with pytest.raises(Corrupt, match=r"\. Ask your cow\.$"):
        Files(path, SystemClock(), "Ask your cow.")
