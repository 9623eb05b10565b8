"""Bad input, row by row; after each row the server is as well as before.

Without `BELLCOW_ABUSE_ADDR` and `BELLCOW_ABUSE_TOKEN` it starts servers of its own. With them the
rows run against the server named there, but for those that need a process, a log or settings.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING

import pytest
from tests.abuse.rows import Row, parameters

if TYPE_CHECKING:
    from tests.abuse.site import Site, Sites

SECTIONS = ("http", "acl", "bodies", "snapshots", "peers", "surroundings", "forgotten", "crowds")
for _section in SECTIONS:
    importlib.import_module(f"tests.abuse.rows_{_section}")


@pytest.mark.parametrize("row", parameters())
def test_row(row: Row, sites: Sites) -> None:
    if row.skipped:
        pytest.skip(row.skipped)
    if row.local and sites.remote:
        pytest.skip("needs a server of its own")
    if row.settings is not None:
        with sites.own(row.settings, acl=row.needs == "acl") as site:
            abuse(site, row)
        return
    shared = sites.shared(row.needs)
    if shared is None:
        pytest.skip(f"the server named has not the access control of this row: {row.needs}")
    abuse(shared, row)


def abuse(site: Site, row: Row) -> None:
    before = site.look()
    began = time.monotonic()
    row.run(site)
    seconds = time.monotonic() - began
    site.check(before, writes=row.writes, faults=row.faults)
    assert seconds < row.limit_s, f"the row took {seconds:.1f} s"
