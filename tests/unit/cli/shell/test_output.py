from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cli.shell import output
from bellcow.cli.shell.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_columns_are_as_wide_as_their_widest_cell_and_the_last_is_not_padded() -> None:
    assert output.table([["a", "bb", "c"], ["aaa", "b", "ccc"]]) == "a    bb  c\naaa  b   ccc"


def test_an_empty_last_cell_leaves_the_glue_behind() -> None:
    assert output.table([["a", "b"], ["c", ""]]) == "a  b\nc  "


def test_rows_may_have_different_numbers_of_cells() -> None:
    assert output.table([["a"], ["bbb", "c"], []]) == "a\nbbb  c\n"


def test_width_counts_code_points() -> None:
    assert output.table([["é", "x"], ["ab", "y"]]) == "é   x\nab  y"


def test_a_bar_in_a_cell_stays_in_its_cell() -> None:
    assert output.table([["a|b", "c"]]) == "a|b  c"


def test_an_empty_cell_of_a_list_shows_none() -> None:
    assert output.listing([["Name", "Description"], ["x", ""]]) == (
        "Name  Description\nx     <none>"
    )


def test_a_block_aligns_its_names() -> None:
    assert output.pairs([("ID", "x"), ("Index", 7)]) == "ID    = x\nIndex = 7"


@given(st.lists(st.lists(st.text("ab é", max_size=4), min_size=1, max_size=4), max_size=5))
def test_a_table_has_one_line_a_row_and_every_cell_at_its_column(rows: list[list[str]]) -> None:
    lines = output.table(rows).split("\n") if rows else []
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        assert line.split() == " ".join(row).split()


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        ("2026-11-23T13:59:47.257920011Z", "2026-11-23 13:59:47.257920011 +0000 UTC"),
        ("2026-11-23T14:11:33.213611780Z", "2026-11-23 14:11:33.21361178 +0000 UTC"),
        ("2026-11-23T14:11:33Z", "2026-11-23 14:11:33 +0000 UTC"),
        ("soon", "soon"),
    ],
)
def test_times_in_the_form_of_go(wire: str, shown: str) -> None:
    assert output.go_time(wire) == shown


def test_json_is_sorted_indented_and_keeps_whole_numbers_whole() -> None:
    assert output.to_json({"b": 5.0, "a": [], "c": {"x": 1.5, "w": "<&>"}}) == (
        '{\n    "a": [],\n    "b": 5,\n    "c": {\n        "w": "<&>",\n        "x": 1.5\n    }\n}'
    )


def test_json_and_a_template_together_are_refused() -> None:
    with pytest.raises(CommandError, match="Both json and template formatting are not allowed"):
        output.formatted({}, as_json=True, template="{{.}}")


def test_neither_json_nor_a_template_leaves_it_to_the_command() -> None:
    assert output.formatted({}, as_json=False, template="") is None


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (80_794, "78.9 KiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_as_people_read_them(count: int, shown: str) -> None:
    assert output.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s ago"), (3, "3s ago"), (3720, "1h2m ago"), (-300, "5m from now"), (90061, "1d1h ago")],
)
def test_ages_show_their_two_largest_units(seconds: int, shown: str) -> None:
    assert output.age(seconds * 1_000_000_000) == shown


@pytest.mark.parametrize(
    ("environment", "words", "terminal", "colored"),
    [
        ({}, [], True, True),
        ({}, [], False, False),
        ({"NOMAD_CLI_NO_COLOR": "1"}, [], True, False),
        ({"BELLCOW_CLI_FORCE_COLOR": "1"}, [], False, True),
        ({}, ["version", "-no-color"], True, False),
        ({}, ["version", "--force-color"], False, True),
        ({"NOMAD_CLI_FORCE_COLOR": "1"}, ["-no-color"], True, False),
    ],
)
def test_errors_are_colored_on_a_terminal_unless_refused(
    environment: dict[str, str], words: list[str], terminal: bool, colored: bool
) -> None:
    assert output.wants_color(environment, words, terminal=terminal) is colored


def test_text_of_a_server_cannot_control_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.say("a\x1b[2Jb\tc")
    assert capsys.readouterr().out == "a\\x1b[2Jb\tc\n"


EVIL = "a\x1b[2J\x9b\r\u202eb\u2066\u2028c\td\n"
SHOWN = "a\\x1b[2J\\x9b\\x0d\\u202eb\\u2066\\u2028c\td\n"


@pytest.mark.parametrize("print_", [output.write, lambda text: output.write_bytes(text.encode())])
def test_control_characters_are_escaped_on_a_terminal(
    print_: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_(EVIL)
    assert capsys.readouterr().out == SHOWN


def test_a_character_split_between_two_chunks_is_whole_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for piece in (b"\xc3", b"\xa4\xff", b"."):
        output.write_bytes(piece)
    assert capsys.readouterr().out == "\u00e4\ufffd."


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("color", ["-no-color", "-force-color"])
def test_errors_and_remarks_drive_no_terminal_with_color_or_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool, color: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "argv", ["bellcow", color])
    output.complain(EVIL)
    output.note(EVIL)
    red = (f"\x1b[31m{SHOWN}\x1b[0m", SHOWN)[color == "-no-color"]
    assert capsys.readouterr().err == f"{red}\n{SHOWN}\n"


def test_a_name_with_a_line_break_is_no_row_of_its_own() -> None:
    rows = [["Name", "Status"], ["s1\ns2\x1b[A", "alive\r"], ["x\ty", "\n"]]
    assert output.table(rows) == "Name          Status\ns1\\ns2\\x1b[A  alive\nx\\ty          "
    assert (
        output.pairs([("Rules", output.Lines("a {\n\tb\x1b\n}\n"))]) == "Rules = a {\n\tb\\x1b\n}"
    )


def test_names_are_listed_with_their_descriptions() -> None:
    found = [{"Name": "a", "Description": "x"}, {"Name": "long", "Description": ""}]
    assert output.described(found) == "Name  Description\na     x\nlong  <none>"
    assert output.described([], "none at all") == "none at all"


def test_the_text_is_not_made_where_data_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def text() -> str:
        made.append(1)
        return "text"

    made: list[int] = []
    output.show({"a": 1}, text, as_json=True, template="")
    output.show({"a": 1}, text, as_json=False, template="{{.a}}")
    assert made == []
    output.show({"a": 1}, text, as_json=False, template="")
    assert capsys.readouterr().out == '{\n    "a": 1\n}\n1\ntext\n'
