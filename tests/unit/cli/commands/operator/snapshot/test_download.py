from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.archives import ARCHIVE, PATH, SAVED_NS, digest

from bellcow.cli.commands.operator.snapshot import download
from bellcow.cli.shell import files
from bellcow.cli.shell.client import Client
from bellcow.cli.shell.errors import CommandError
from bellcow.cli.shell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_default_name_sorts_by_date() -> None:
    assert download.default_name(SAVED_NS) == "nomad-state-20261123-1795442432.snap"
    assert download.default_name(1796428800 * 10**9) == "nomad-state-20261205-1796428800.snap"


def test_the_saved_file_equals_the_answer(server: Any, tmp_path: Path) -> None:
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    path = tmp_path / "x.snap"
    info = download.save(Client(Settings(address=server.address)), path, stale=False)
    assert (info.index, info.term) == (21, 2)
    assert path.read_bytes() == ARCHIVE


def test_an_interrupt_leaves_nothing_behind(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    client = Client(Settings(address=server.address))
    with pytest.raises(KeyboardInterrupt):
        download.save(client, tmp_path / "x.snap", stale=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    server.on(f"GET {PATH}", ARCHIVE, headers=digest(ARCHIVE))
    client = Client(Settings(address=server.address))
    with pytest.raises(CommandError, match=r"^Failed to write snapshot file: .*no space left"):
        download.save(client, tmp_path / "x.snap", stale=False)
    assert list(tmp_path.iterdir()) == []
