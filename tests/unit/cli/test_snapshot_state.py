from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.snapshot import archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_every_object_is_printed_under_its_table(cli: Callable[..., Any], tmp_path: Path) -> None:
    records = [
        ("namespaces", name, msgspec.msgpack.encode({"Name": name})) for name in ("a", "default")
    ]
    with (tmp_path / "s").open("wb") as file:
        archive.write(file, archive.Origin(index=21, term=2, wall_ns=0), records, io.BytesIO())
    result = cli("operator", "snapshot", "state", str(tmp_path / "s"))
    data = msgspec.json.decode(result.out)
    assert data["namespaces"] == [{"Name": "a"}, {"Name": "default"}]
    assert data["SnapshotMeta"]["Index"] == 21
    assert result.out.startswith("{\n  ")


def test_what_is_no_snapshot_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"junk")
    bad = cli("operator", "snapshot", "state", str(tmp_path / "s"))
    assert (bad.status, bad.out) == (1, "")
    assert bad.err.startswith("Error reading snapshot: ")
    missing = cli("operator", "snapshot", "state", "nope")
    assert missing.err == ("Error opening snapshot file: open nope: no such file or directory\n")
