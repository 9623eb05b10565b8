from __future__ import annotations

import asyncio

import pytest
from tests.support.etcd import needs_etcd

from bellcow.etcd.version import CannotRun, find_program, judge, parse_version, read_version


@pytest.mark.parametrize("text", ["3.3.27", "3.4.20", "3.5.0", "3.5.5", "2.3.8", "4.0.0"])
def test_unsafe_release_is_refused(text):
    with pytest.raises(CannotRun, match=text):
        judge(parse_version("etcd", f"etcd Version: {text}"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("3.4.21", "old"),
        ("3.4.42", "old"),
        ("3.5.6", "old"),
        ("3.5.19", "old"),
        ("3.6.3", "faults"),
        ("3.8.0", "newer"),
    ],
)
def test_release_with_a_drawback_is_taken_with_a_word(text, word):
    assert word in judge(parse_version("etcd", f"etcd Version: {text}"))


@pytest.mark.parametrize("text", ["3.5.20", "3.5.99", "3.6.4", "3.7.0", "3.7.12"])
def test_good_release_needs_no_word(text):
    assert judge(parse_version("etcd", f"etcd Version: {text}")) == ""


def test_version_is_found_in_what_the_program_prints():
    output = "etcd Version: 3.4.23\nGit SHA: none\nGo Version: go1.19.8\n"
    assert parse_version("etcd", output) == (3, 4, 23)
    assert parse_version("etcd", "etcd Version: 3.6.0-rc.1\n") == (3, 6, 0)


def test_program_that_is_not_etcd_is_refused():
    with pytest.raises(CannotRun, match="which version"):
        parse_version("/bin/true", "hello")


def test_missing_program_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match=r"etcd-server.*embedded"):
        find_program("")
    with pytest.raises(CannotRun, match=r"server\.etcd_path"):
        find_program("/nowhere/etcd")


def test_program_is_found_in_the_path_or_where_the_settings_say(monkeypatch, tmp_path):
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho etcd Version: 3.5.21\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert find_program("") == find_program(str(program)) == str(program)
    assert asyncio.run(read_version(str(program))) == (3, 5, 21)


def test_program_that_cannot_be_started_says_so(tmp_path):
    program = tmp_path / "etcd"
    program.write_text("no program at all")
    program.chmod(0o755)
    with pytest.raises(CannotRun, match="cannot be started"):
        asyncio.run(read_version(str(program)))


def test_program_that_never_answers_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("bellcow.etcd.version.ANSWER_S", 0.05)
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(CannotRun, match="no answer"):
        asyncio.run(read_version(str(program)))


@needs_etcd
def test_etcd_of_this_machine_is_one_we_take():
    judge(asyncio.run(read_version(find_program(""))))
