"""SIGHUP: what changes at once, what needs a restart, and files that are bad."""

from __future__ import annotations

import io

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.log import Log
from bellcow.agent.reload import Reloader, changed
from bellcow.config.load import load
from bellcow.events import Level


class Reloading:
    """A configuration file, its reloader, and the log it writes to."""

    def __init__(self, tmp_path) -> None:
        self.path = tmp_path / "agent.hcl"
        self._data = tmp_path / "data"
        self.write("")
        self.out = io.StringIO()
        self.log = Log(FixedClock(), Level.INFO, out=self.out)
        loaded = load([str(self.path)])
        assert not loaded.problems
        self.reloader = Reloader([str(self.path)], {}, loaded, self.log, None)

    def write(self, text: str) -> None:
        self.path.write_text(f'data_dir = "{self._data}"\nserver {{ enabled = true }}\n{text}\n')

    def reload(self) -> str:
        self.reloader.reload()
        return self.out.getvalue()


@pytest.fixture
def reloading(tmp_path, capsys):
    del capsys  # what is printed is not looked at here
    return Reloading(tmp_path)


def test_log_level_changes_at_once(reloading):
    reloading.write('log_level = "ERROR"')
    reloading.reload()
    assert reloading.log.level is Level.ERROR


def test_reload_is_told_with_its_files(reloading):
    assert "configuration reloaded: files=" in reloading.reload()


def test_setting_that_needs_a_restart_is_named(reloading):
    reloading.write('name = "other"')
    text = reloading.reload()
    assert "changed setting needs a restart: setting=name" in text


def test_setting_is_named_once(reloading):
    reloading.write('name = "other"')
    reloading.reload()
    assert reloading.reload().count("setting=name") == 1


@pytest.mark.parametrize("text", ["log_level = ", 'log_level = "NOISY"', "no_such_key = 1"])
def test_bad_file_changes_nothing(reloading, text):
    reloading.write(f'name = "other"\n{text}')
    written = reloading.reload()
    assert "reload failed, old settings stay" in written
    assert "configuration reloaded" not in written
    assert reloading.log.level is Level.INFO
    reloading.write("")
    assert "configuration reloaded" in reloading.reload()


def test_missing_file_changes_nothing(reloading):
    reloading.path.unlink()
    assert "reload failed" in reloading.reload()


def test_changed_settings_are_told_by_path(tmp_path):
    path = tmp_path / "agent.hcl"
    path.write_text('name = "a"')
    old = load([str(path)])
    path.write_text('name = "b"\nports { http = 5 }')
    assert changed(old, load([str(path)])) == ["name", "ports.http"]
    assert changed(old, old) == []
