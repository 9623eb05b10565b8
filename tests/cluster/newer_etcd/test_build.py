"""Which releases of etcd are built, and what is said where that is not possible."""

from __future__ import annotations

import pytest
from tests.cluster.chaos.chaos import Report
from tests.cluster.newer_etcd.__main__ import Row, line, newer
from tests.cluster.newer_etcd.build import CannotBuild, built, newest_of

NAMES = ["v3.5.0-alpha.0", "v3.5.5", "v3.5.9", "v3.5.21", "v3.5.35", "v3.6.0", "v3.6.4-rc.1"]


def test_newest_release_that_needs_no_warning_is_taken():
    assert newest_of(NAMES, (3, 5)) == (3, 5, 35)


def test_minor_version_of_which_only_faulty_releases_can_be_had_is_left_out():
    with pytest.raises(CannotBuild, match=r"etcd 3\.6"):
        newest_of(NAMES, (3, 6))


def test_program_that_is_there_is_not_built_again(tmp_path):
    program = tmp_path / "3.5.35" / "etcd"
    program.parent.mkdir()
    program.touch()
    assert built("no-such-go", (3, 5, 35), tmp_path) == program


def test_build_that_fails_leaves_nothing_that_looks_like_a_program(tmp_path):
    with pytest.raises(CannotBuild, match="no-such-go mod init"):
        built("no-such-go", (3, 5, 35), tmp_path)
    assert not (tmp_path / "3.5.35").exists()


def test_without_go_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    assert newer(tmp_path) == []
    assert "there is no Go toolchain here" in capsys.readouterr().out


def test_row_with_a_problem_is_not_good_and_counts_it():
    report = Report(seed=1, seconds=60, problems=["lost"])
    row = Row(etcd="3.6.16", passed=3, failed=1, chaos=report)
    assert not row.is_good
    assert line(row) == "| 3.6.16 | 3 of 4 | 0 | 0 | 0 | 1 |\n"
