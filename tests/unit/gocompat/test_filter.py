from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.gocompat.filter import FilterError, compiled

POLICY = {
    "Name": "ops",
    "Description": 'say "hi"',
    "ModifyIndex": 12,
    "Global": True,
    "Policies": ["read", "write"],
    "Nothing": None,
    "Empty": "",
    "Meta": {"team": "core", "a.b": "dotted"},
    "Hash": None,
}


@pytest.mark.parametrize(
    "expression",
    [
        'Name == "ops"',
        "Name == ops",
        "Name == `ops`",
        '(Name=="ops")',
        'Name != "web"',
        'Description == "say \\"hi\\""',
        "ModifyIndex == 12",
        'ModifyIndex == "12"',
        "ModifyIndex != 13",
        "Global == true",
        "Global != false",
        "Policies contains read",
        '"write" in Policies',
        "read in Policies and write in Policies",
        '"admin" not in Policies',
        "Policies not contains admin",
        "Name contains op",
        "Meta contains team",
        "team in Meta",
        "Meta.team == core",
        '"/Meta/a.b" == dotted',
        'Name matches "^o.s$"',
        "Name not matches web",
        "Empty is empty",
        "Nothing is empty",
        "Policies is not empty",
        "Meta is not empty",
        "not Name == web",
        "not (Name == web or Name == db)",
        "Name == web or Name == ops and Global == true",
        "Name == ops or Name == web and Global == false",
    ],
)
def test_a_matching_object_is_kept(expression: str) -> None:
    assert compiled(expression)(POLICY)


@pytest.mark.parametrize(
    "expression",
    [
        'Name == "Ops"',
        "(Name == ops or Name == web) and Global == false",
        "not not Name == web",
        "Name contains x",
        "ModifyIndex == 1_2",
        "Policies is empty",
    ],
)
def test_an_object_that_does_not_fit_is_left_out(expression: str) -> None:
    assert not compiled(expression)(POLICY)


@pytest.mark.parametrize(
    "expression",
    [
        "Nope == x",
        "Nope != x",
        "not Nope == x",
        "Name.inner == x",
        "Meta.nope is empty",
        "Policies == read",
        "Name == ops and Nope != x",
        "ModifyIndex contains 1",
        "ModifyIndex matches 1",
        "ModifyIndex != twelve",
        "Global is empty",
    ],
)
def test_an_object_that_cannot_be_asked_this_is_left_out(expression: str) -> None:
    assert not compiled(expression)(POLICY)
    assert not compiled(expression)(["no object"])


@pytest.mark.parametrize(
    ("expression", "where"),
    [
        ("", "at character 1: expected a field, found the end"),
        ("Name", "at character 5: expected ==, !=, contains, in, matches or is empty, found the "),
        ("Name = x", "at character 6: this cannot stand here"),
        ('Name == "x', "at character 9: this quote is never closed"),
        ("Name ==", "at character 8: expected a value, found the end"),
        ("(Name == x", "at character 11: expected ) or and or or, found the end"),
        ("Name == x y", "at character 11: expected and, or, or the end, found y"),
        ("Name == x and", "at character 14: expected a field, found the end"),
        ('"x" == Name', 'at character 1: "x" is not the name of a field: names stand before'),
        ("Name is full", "at character 6: expected ==, "),
        ('Name matches "("', "at character 14: not a regular expression: missing )"),
        (f"Name matches {'(' * 9000}", "at character 14: expected a value"),
        (f'Name matches "{"(" * 9000}"', "at character 14: not a regular expression: "),
        ("x in", "at character 5: expected a field, found the end"),
        ("(" * 200 + "a == b" + ")" * 200, "at character 101: nested more than 100 deep"),
        ("not " * 5000 + "a == b", "nested more than 100 deep"),
    ],
)
def test_a_malformed_expression_is_refused_with_the_position(expression: str, where: str) -> None:
    with pytest.raises(FilterError) as caught:
        compiled(expression)
    assert where in str(caught.value)


NAMES = ["Name", "Meta.team", '"x"', "`x`", "12", "=", '"', "\\"]
OPERATORS = ["==", "!=", "in", "not", "is", "empty", "contains", "matches", "(", ")", "and", "or"]
WORDS = st.lists(st.sampled_from([*NAMES, *OPERATORS]))


@given(WORDS.map(" ".join))
def test_any_words_are_read_or_refused(expression: str) -> None:
    try:
        fits = compiled(expression)
    except FilterError:
        return
    assert fits(POLICY) in {True, False}
