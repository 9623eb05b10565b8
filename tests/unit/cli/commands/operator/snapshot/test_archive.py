from __future__ import annotations

import hashlib
import io
import stat
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.support.archives import (
    ARCHIVE,
    CLUSTER,
    PATH,
    SAVED_NS,
    digest,
    make_archive,
)

from bellcow.model.namespace import Namespace
from bellcow.snapshot import archive
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


NO_SNAPSHOT = "This is no snapshot: bad.snap does not begin as an archive does.\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_snapshot_is_saved_whole_and_private(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    result = cli("operator", "snapshot", "save", "-stale", "backup.snap")
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        f"State file written to backup.snap\nIt holds index 21 of term 2, {len(ARCHIVE)} B\n"
    )
    path = tmp_path / "backup.snap"
    assert path.read_bytes() == ARCHIVE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["backup.snap"]
    assert server.requests[0].target == f"{PATH}?stale="


def test_without_a_name_the_file_gets_one(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    out = cli("operator", "snapshot", "save").out
    assert out.startswith("State file written to nomad-state-2")


def test_a_dash_is_standard_output(cli: Callable[..., Any], server: Any, capfdbinary: Any) -> None:
    from bellcow.cli.main import run

    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    assert run(["nomad", "operator", "snapshot", "save", "-"]) == 0
    assert capfdbinary.readouterr().out == ARCHIVE


@pytest.mark.parametrize(
    ("body", "status", "headers", "text"),
    [
        (
            b"Permission denied",
            403,
            {},
            "Failed to get snapshot file: Unexpected response code: 403 (Permission denied)",
        ),
        (
            ARCHIVE,
            200,
            digest(b"other"),
            "Failed to download snapshot file: its checksum differs from the server's",
        ),
        (ARCHIVE, 200, {}, "Failed to download snapshot file: its checksum differs"),
        (
            b"x",
            200,
            digest(b"x"),
            "Failed to verify snapshot file: failed to decompress snapshot: unexpected EOF",
        ),
    ],
)
def test_a_failed_save_leaves_nothing_behind(
    cli: Callable[..., Any],
    server: Any,
    tmp_path: Path,
    body: bytes,
    status: int,
    headers: dict[str, str],
    text: str,
) -> None:
    server.on(f"GET {PATH}", body, status, headers)
    result = cli("operator", "snapshot", "save", "x.snap")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(text)
    assert list(tmp_path.iterdir()) == []


def test_where_a_snapshot_cannot_go(cli: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    hint = "For additional help try 'nomad operator snapshot save -help'\n"
    assert cli("operator", "snapshot", "save", "there").err == (
        'Destination file already exists: "there"\n'
        f"Choose another name, or remove the file.\n{hint}"
    )
    assert cli("operator", "snapshot", "save", "a", "b").err == (
        f"This command takes either no arguments or one: <filename>\n{hint}"
    )
    assert cli("operator", "snapshot", "save", "nodir/b.snap").err == (
        "Failed to create file: open nodir/b.snap: no such file or directory\n"
    )
    assert server.requests == []


def test_a_saved_snapshot_is_private_whatever_others_have_put_beside_it(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    planted = [tmp_path / f"x.snap{end}" for end in (".tmp", ".partial")]
    for each in planted:
        each.touch()
        each.chmod(0o666)
    assert cli("operator", "snapshot", "save", "x.snap").status == 0
    assert (tmp_path / "x.snap").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "x.snap").read_bytes() == ARCHIVE
    assert [each.read_bytes() for each in planted] == [b"", b""]


def test_inspect_shows_the_content_of_a_snapshot(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    lines = cli("operator", "snapshot", "inspect", "b.snap").out.splitlines()
    assert lines[0] == "ID      = 2-21-1795442432498"
    assert lines[2:8] == [
        "Index   = 21",
        "Term    = 2",
        "Version = 1000",
        "Created = 2026-11-23T14:00:32.498Z",
        f"Cluster = {CLUSTER}",
        "Region  = global",
    ]
    assert lines[8].startswith("Writer  = bellcow ")
    assert lines[10].split() == ["Type", "Count", "Size"]
    assert lines[11].split()[:3] == ["acl_tokens", "1", "250"]
    assert "Total" in lines[14]
    shown = cli("operator", "snapshot", "inspect", "-json", "b.snap").out
    data = msgspec.json.decode(shown)
    assert (data["Meta"]["Index"], data["Meta"]["ClusterID"]) == (21, CLUSTER)
    assert [stat_["Name"] for stat_ in data["Stats"]] == ["acl_tokens", "namespaces"]
    assert data["Largest"][1] == {"Type": "namespaces", "Name": "default", "Size": 86}
    assert cli("operator", "snapshot", "inspect", "b.snap", "-t", "{{.Meta.Term}}").out == "2\n"


@pytest.mark.parametrize(
    ("data", "text", "hint"),
    [
        (b"junk", "failed to decompress snapshot: unexpected EOF", NO_SNAPSHOT),
        (
            b"Dear colleague, ...",
            "failed to decompress snapshot: gzip: invalid header",
            NO_SNAPSHOT,
        ),
        (
            b"",
            "failed to decompress snapshot: EOF",
            "This is no snapshot: bad.snap is empty.\n",
        ),
        (
            ARCHIVE[:-200],
            "failed to read snapshot file: failed to read or write snapshot data: unexpected EOF",
            "",
        ),
    ],
)
def test_a_broken_file_is_named_and_never_sent(
    cli: Callable[..., Any], server: Any, tmp_path: Path, data: bytes, text: str, hint: str
) -> None:
    (tmp_path / "bad.snap").write_bytes(data)
    inspected = cli("operator", "snapshot", "inspect", "bad.snap", program="bellcow")
    assert (inspected.status, inspected.err) == (1, f"Error verifying snapshot: {text}\n{hint}")
    restored = cli("operator", "snapshot", "restore", "bad.snap")
    assert restored.err == (f"Error verifying snapshot: {text}\nNothing was sent to the server.\n")
    assert server.requests == []


def test_a_row_that_a_restore_would_refuse_fails_the_inspection(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    out = io.BytesIO()
    origin = archive.Origin(index=21, term=2, wall_ns=SAVED_NS)
    row = to_msgpack(Namespace(name="<script>"))
    archive.write(out, origin, [("namespaces", "<script>", row)], io.BytesIO())
    (tmp_path / "odd.snap").write_bytes(out.getvalue())
    inspected = cli("operator", "snapshot", "inspect", "odd.snap")
    assert (inspected.status, inspected.out) == (1, "")
    assert inspected.err.startswith(
        'Error verifying snapshot: Raft error when restoring snapshot: namespaces "<script>": '
    )


def foreign_archive() -> bytes:
    """A sound envelope around a state that bellcow did not write."""
    state = b"\x01 not ours"
    meta = msgspec.json.encode({"Version": 1, "ID": "2-9-1795442432498", "Size": len(state)})
    members = {"meta.json": meta, "state.bin": state}
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in members.items()
    )
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in {**members, "SHA256SUMS": sums.encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_an_archive_that_cannot_be_restored_is_not_called_sound(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "n.snap").write_bytes(foreign_archive())
    inspected = cli("operator", "snapshot", "inspect", "n.snap")
    assert inspected.status == 1
    assert inspected.out.startswith("ID      = 2-9-1795442432498\n")
    assert inspected.err.startswith(
        "Error verifying snapshot: bellcow did not write the state in it"
    )
    restored = cli("operator", "snapshot", "restore", "n.snap")
    assert restored.status == 1
    assert restored.err.endswith("cannot be restored here\nNothing was sent to the server.\n")
    assert server.requests == []


def test_a_missing_file_is_named(cli: Callable[..., Any]) -> None:
    assert cli("operator", "snapshot", "inspect", "nope.snap").err == (
        "Error opening snapshot file: open nope.snap: no such file or directory\n"
    )
    assert cli("operator", "snapshot", "restore", "nope.snap").err == (
        'Error opening snapshot file: "open nope.snap: no such file or directory"\n'
    )
    assert cli("operator", "snapshot", "restore").err.startswith(
        "This command takes one argument: <filename>\n"
    )


def test_a_snapshot_is_restored_as_it_is(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    server.on(f"PUT {PATH}")
    result = cli("operator", "snapshot", "restore", "b.snap")
    assert (result.status, result.out, result.err) == (0, "Snapshot Restored\n", "")
    request = server.requests[0]
    assert (request.target, request.body) == (PATH, ARCHIVE)
    assert request.headers["Content-Length"] == str(len(ARCHIVE))
    forced = cli("operator", "snapshot", "restore", "-force", "-yes", "-token=t", "b.snap")
    assert "tokens are now those of the snapshot" in forced.out
    assert server.requests[1].target == f"{PATH}?force=true"


def test_restore_prints_where_the_former_state_is_saved(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    headers = {"X-Bellcow-Kept": "before-restore-1-2.snap", "X-Bellcow-Kept-On": "s2.global"}
    server.on(f"PUT {PATH}", headers=headers)
    assert cli("operator", "snapshot", "restore", "b.snap").out == (
        "Snapshot Restored\n"
        "The state before it is kept on s2.global, in server/snapshots/before-restore-1-2.snap of "
        "its data_dir\n"
    )


def test_after_restoring_a_snapshot_without_tokens_the_output_names_bootstrap(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "b.snap").write_bytes(make_archive(tokens=False))
    server.on(f"PUT {PATH}")
    result = cli("operator", "snapshot", "restore", "-token=t", "b.snap")
    assert result.out == (
        "Snapshot Restored\nThe snapshot held no tokens: make one with 'nomad acl bootstrap'.\n"
    )


def test_a_refused_restore_shows_the_reason(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    server.on(f"PUT {PATH}", b"Permission denied", 403)
    assert cli("operator", "snapshot", "restore", "b.snap").err == (
        "Failed to get restore snapshot: Unexpected response code: 403 (Permission denied)\n"
    )


def test_force_without_a_terminal_needs_yes(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    result = cli("operator", "snapshot", "restore", "-force", "b.snap")
    assert result.err == "without a terminal, -force needs -yes\n"
    assert server.requests == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "sent"), [("y\n", 1), ("YES\n", 1), ("\n", 0), ("", 0)])
def test_on_a_terminal_the_operator_is_asked(
    cli: Callable[..., Any],
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    sent: int,
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    server.on(f"PUT {PATH}")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert cli("operator", "snapshot", "restore", "b.snap").status == 1 - sent
    assert sum(request.target == PATH for request in server.requests) == sent
    assert f"the state of the cluster at {server.address}\n" in screen.getvalue()
    assert "by 2 objects of index 21, saved " in screen.getvalue()


@pytest.mark.parametrize(("here", "told"), [(CLUSTER, False), ("other", True)])
def test_restore_warns_of_a_snapshot_of_another_cluster(
    cli: Callable[..., Any],
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: str,
    told: bool,
) -> None:
    (tmp_path / "b.snap").write_bytes(ARCHIVE)
    server.on("GET /v1/agent/self", {"stats": {"cluster": {"id": here}}})
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert cli("operator", "snapshot", "restore", "b.snap").status == 1
    text = f"It is of another cluster, {CLUSTER} of region global; this one is other.\n"
    assert (text in screen.getvalue()) == told


def tables(path: Path) -> dict[str, int]:
    with path.open("rb") as file:
        return {table: count for table, count, _ in archive.inspect(file).stats}


def test_a_file_is_redacted_in_place(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "b.snap"
    path.write_bytes(ARCHIVE)
    path.chmod(0o644)
    result = cli("operator", "snapshot", "redact", "b.snap")
    assert (result.status, result.err) == (0, "")
    assert result.out == "Snapshot redacted\nLeft out: 1 ACL token\n"
    assert tables(path) == {"namespaces": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.snap"]
    lines = cli("operator", "snapshot", "inspect", "b.snap").out.splitlines()
    assert lines[0] == "ID      = 2-21-1795442432498"
    again = cli("operator", "snapshot", "redact", "b.snap").out
    assert again.endswith("Left out: nothing: there was no secret in it\n")


def test_the_file_behind_a_link_is_redacted(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "real.snap").write_bytes(ARCHIVE)
    (tmp_path / "link.snap").symlink_to("real.snap")
    assert cli("operator", "snapshot", "redact", "link.snap").status == 0
    assert (tmp_path / "link.snap").is_symlink()
    assert tables(tmp_path / "real.snap") == {"namespaces": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"junk", "failed to decompress snapshot: unexpected EOF"),
        (ARCHIVE[:-200], "failed to read snapshot file: failed to read or write snapshot data: "),
    ],
)
def test_a_broken_file_is_not_redacted(
    cli: Callable[..., Any], tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "bad.snap").write_bytes(data)
    result = cli("operator", "snapshot", "redact", "bad.snap")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"Error reading snapshot: {reason}")
    assert (tmp_path / "bad.snap").read_bytes() == data
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.snap"]
    assert cli("operator", "snapshot", "redact", "nope").err == (
        "Error opening snapshot file: open nope: no such file or directory\n"
    )


def test_a_snapshot_can_be_saved_without_its_secrets(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    result = cli("operator", "snapshot", "save", "-redact", "x.snap")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "State file written to x.snap"
    assert lines[1].startswith("It holds index 21 of term 2, ")
    assert lines[2:] == ["Left out: 1 ACL token"]
    assert tables(tmp_path / "x.snap") == {"namespaces": 1}
    assert stat.S_IMODE((tmp_path / "x.snap").stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.snap"]


def test_a_failed_redacted_save_leaves_nothing_behind(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(b"other"))
    result = cli("operator", "snapshot", "save", "-redact", "x.snap")
    assert (result.status, result.out) == (1, "")
    assert "its checksum differs from the server's" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_redacted_snapshot_can_go_to_standard_output(
    cli: Callable[..., Any], server: Any, capfdbinary: Any
) -> None:
    from bellcow.cli.main import run

    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    assert run(["nomad", "operator", "snapshot", "save", "-redact", "-"]) == 0
    printed = capfdbinary.readouterr()
    info = archive.inspect(io.BytesIO(printed.out))
    assert [table for table, _, _ in info.stats] == ["namespaces"]
    assert printed.err == b"Left out: 1 ACL token\n"


@pytest.mark.parametrize(("has_acls", "status"), [(True, 200), (False, 200), (False, 403)])
def test_with_acls_restore_warns_of_the_loss_of_all_tokens(
    cli: Callable[..., Any],
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_acls: bool,
    status: int,
) -> None:
    (tmp_path / "b.snap").write_bytes(make_archive(tokens=False))
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told = {"config": {"ACL": {"Enabled": has_acls}}, "stats": {"cluster": {"id": CLUSTER}}}
    server.on("GET /v1/agent/self", told if status == 200 else b"", status)
    assert cli("operator", "snapshot", "restore", "b.snap").status == 1
    text = "It holds no ACL tokens: all present tokens will be lost.\n"
    assert (text in screen.getvalue()) is (has_acls or status == 403)
    assert [request.target for request in server.requests] == ["/v1/agent/self"]
