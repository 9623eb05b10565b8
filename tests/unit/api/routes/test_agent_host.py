"""What `agent/host` gathers of the machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil

from bellcow.api.routes import agent_host

if TYPE_CHECKING:
    import pytest


def test_disk_that_may_not_be_looked_into_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(path: str) -> SimpleNamespace:
        if path == "/closed":
            raise PermissionError(13, "Permission denied", path)
        return SimpleNamespace(total=3 << 20, used=1 << 20)

    parts = [SimpleNamespace(mountpoint=path) for path in ("/closed", "/open")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda: parts)
    monkeypatch.setattr(psutil, "disk_usage", usage)
    assert agent_host._host_data()["Disk"] == {"/open": {"DiskMB": 3, "UsedMB": 1}}


def test_unreadable_system_file_is_replaced_by_the_reason() -> None:
    assert agent_host._text_of("/nowhere/hosts") == "open /nowhere/hosts: no such file or directory"
