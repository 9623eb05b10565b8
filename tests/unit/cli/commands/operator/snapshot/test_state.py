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


def test_a_file_that_is_no_snapshot_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"junk")
    bad = cli("operator", "snapshot", "state", str(tmp_path / "s"))
    assert (bad.status, bad.out) == (1, "")
    assert bad.err == "Error reading snapshot: failed to decompress snapshot: unexpected EOF\n"
    missing = cli("operator", "snapshot", "state", "nope")
    assert missing.err == ("Error opening snapshot file: open nope: no such file or directory\n")


def test_objects_nested_too_deep_are_no_traceback(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    deep = b"\x91" * 100_000 + b"\xc0"
    with (tmp_path / "s").open("wb") as file:
        origin = archive.Origin(index=21, term=2, wall_ns=0)
        archive.write(file, origin, [("nodes", "n", deep)], io.BytesIO())
    server.on("GET /v1/agent/self", b"[" * 100_000)
    for words in (("operator", "snapshot", "state", str(tmp_path / "s")), ("agent-info",)):
        result = cli(*words)
        assert (result.status, result.out) == (1, "")
        assert "nested too deeply" in result.err
        assert "Traceback" not in result.err


def saved(path: Path) -> str:
    token = msgspec.msgpack.encode({"Name": "t", "SecretID": "hush", "Policies": ["read"]})
    records = [
        ("acl_tokens", "a", token),
        ("namespaces", "web", msgspec.msgpack.encode({"Name": "web"})),
    ]
    with path.open("wb") as file:
        archive.write(file, archive.Origin(index=21, term=2, wall_ns=0), records, io.BytesIO())
    return str(path)


def test_secrets_are_shown_on_demand_only(cli: Callable[..., Any], tmp_path: Path) -> None:
    name = saved(tmp_path / "s")
    assert "hush" not in cli("operator", "snapshot", "state", name).out
    assert '"SecretID": "hush"' in cli("operator", "snapshot", "state", "-secrets", name).out


def test_a_filter_keeps_matching_objects(cli: Callable[..., Any], tmp_path: Path) -> None:
    name = saved(tmp_path / "s")
    out = cli("operator", "snapshot", "state", "-filter", "Policies contains read", name).out
    assert set(msgspec.json.decode(out)) == {"SnapshotMeta", "acl_tokens"}
    none = cli("operator", "snapshot", "state", "-filter=Name == x", name)
    assert (none.status, set(msgspec.json.decode(none.out))) == (0, {"SnapshotMeta"})


def test_a_malformed_filter_is_refused_with_the_position(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    result = cli("operator", "snapshot", "state", "-filter=Name = x", saved(tmp_path / "s"))
    assert (result.status, result.out) == (1, "")
    assert result.err == "Error reading filter at character 6: this cannot stand here\n"
