from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cli.shell.errors import MisuseError
from bellcow.cli.shell.flag_words import asks_for_help, normalize

FLAGS = {"address": True, "json": False, "stale": False, "t": True, "policy": True, "n": True}
A = "http://a"


@pytest.mark.parametrize(
    ("words", "found", "arguments"),
    [
        (["-address=" + A], ["--address=" + A], []),
        (["-address", A], ["--address=" + A], []),
        (["--address=" + A], ["--address=" + A], []),
        (["--address", A], ["--address=" + A], []),
        (["-address="], ["--address="], []),
        (["-address=a=b"], ["--address=a=b"], []),
        (["-address", "-json"], ["--address=-json"], []),
        (["-address", "--"], ["--address=--"], []),
        (["-json"], ["--json"], []),
        (["--json"], ["--json"], []),
        (["-json=true"], ["--json"], []),
        (["-json=false"], ["--not-json"], []),
        (["-stale=T"], ["--stale"], []),
        (["-stale=0"], ["--not-stale"], []),
        (["-stale", "false"], ["--stale"], ["false"]),
        (["-stale", "-stale=false"], ["--not-stale"], []),
        (["-policy", "a", "-policy=b"], ["--policy=a", "--policy=b"], []),
        (["-address=1", "-address=2"], ["--address=1", "--address=2"], []),
        (["-t", "{{.Name}}"], ["--t={{.Name}}"], []),
        (["-t={{.Name}}"], ["--t={{.Name}}"], []),
        (["--t=x"], ["--t=x"], []),
        (["name", "-json"], ["--json"], ["name"]),
        (["a", "-n", "5", "b"], ["--n=5"], ["a", "b"]),
        (["--", "-json"], [], ["-json"]),
        (["-json", "--", "-stale", "--"], ["--json"], ["-stale", "--"]),
        (["-"], [], ["-"]),
        (["name", "-", "-json"], ["--json"], ["name", "-"]),
    ],
)
def test_each_form_of_a_flag(words: list[str], found: list[str], arguments: list[str]) -> None:
    assert normalize(words, FLAGS) == (found, arguments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-bogus"], "flag provided but not defined: -bogus"),
        (["--bogus=1"], "flag provided but not defined: -bogus"),
        (["-addr", A], "flag provided but not defined: -addr"),
        (["-jt"], "flag provided but not defined: -jt"),
        (["-JSON"], "flag provided but not defined: -JSON"),
        (["-address"], "flag needs an argument: -address"),
        (["-stale=maybe"], 'invalid boolean value "maybe" for -stale: parse error'),
        (["-stale="], 'invalid boolean value "" for -stale: parse error'),
        (["---json"], "bad flag syntax: ---json"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-not-json"], "flag provided but not defined: -not-json"),
    ],
)
def test_each_bad_flag_is_refused_in_go_words(words: list[str], message: str) -> None:
    with pytest.raises(MisuseError) as caught:
        normalize(words, FLAGS)
    assert caught.value.message.split("\n")[0] == message


def test_a_near_miss_is_named() -> None:
    with pytest.raises(MisuseError, match=r"Did you mean -address\?"):
        normalize(["-adress=x"], FLAGS)


def test_completion_skips_wrong_flags() -> None:
    assert normalize(["-bogus", "x", "-json", "-address"], FLAGS, lenient=True) == (
        ["--json"],
        ["x"],
    )


@given(st.lists(st.text("ab-=", max_size=4), max_size=5))
def test_every_word_after_two_dashes_is_an_argument(words: list[str]) -> None:
    assert normalize(["--", *words], FLAGS) == ([], words)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["-h"], True),
        (["x", "--help"], True),
        (["-address", "-help"], True),
        (["--", "-h"], False),
        (["-hello"], False),
    ],
)
def test_help_counts_anywhere_before_two_dashes(words: list[str], asked: bool) -> None:
    assert asks_for_help(words) is asked
