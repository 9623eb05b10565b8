"""The HCL 1 reader: texts, trees, places, errors, limits, and two older readers as oracles."""

from __future__ import annotations

import string
import sys
from typing import Any

import hcl as pyhcl
import hcl2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellcow.gocompat import hcl
from bellcow.gocompat.hcl import Body, HCLError, ListNode, Scalar, blocks, parse

fewer = settings(max_examples=40)


def plain(value: hcl.Value) -> Any:
    """A tree without places: lists of (key, labels, value) for bodies."""
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, ListNode):
        return [plain(item) for item in value.items]
    return {"": [(item.key, item.labels, plain(item.value)) for item in value.items]}


def only(text: str) -> Any:
    (item,) = parse(text).items
    return plain(item.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", 1),
        ("a = -12", -12),
        ("a = 0x1F", 31),
        ("a = 0755", 493),
        ("a = 0", 0),
        ("a = 1.5", 1.5),
        ("a = 0.25", 0.25),
        ("a = 1e3", 1000.0),
        ("a = 2.5e-1", 0.25),
        ("a = .5", 0.5),
        ("a = true", True),
        ("a = false", False),
        ('a = "x"', "x"),
        ('"a" = "x"', "x"),
        (r'a = "\n\t\\\"\u00e9\x41\101"', '\n\t\\"éAA'),
        ('a = "${ "quoted" } \\t"', '${ "quoted" } \t'),
        (r'a = "${ \n }"', r"${ \n }"),
        ('a = "$5 {x}"', "$5 {x}"),
        ("a = <<EOF\none\n two\nEOF\n", "one\n two\n"),
        ("a = <<EOF\nEOF\n", ""),
        ("a = <<-EOF\n    one\n      two\n    EOF\n", "one\n  two\n"),
        ("a = <<-EOF\n  one\n    EOF\n", "  one\n"),
        ("a = <<EOF\none\n  EOF\n", "one\n  "),
        ("a = [1, 2, 3]", [1, 2, 3]),
        ("a = [1, 2,\n]", [1, 2]),
        ('a = [true, [1], {b = "c"}]', [True, [1], {"": [("b", (), "c")]}]),
        ("a = []", []),
        ("# c\n// d\na /* e */ = /* f\n */ 1 # g", 1),
        ("a = 1\r\n", 1),
    ],
)
def test_a_value_is_read_as_written(text, value):
    assert only(text) == value


def test_a_block_keeps_its_labels_and_its_place():
    (item,) = parse('\n  node "web" "x" {\n    policy = "read"\n  }\n').items
    assert (item.key, item.labels, item.line, item.column) == ("node", ("web", "x"), 2, 3)
    assert isinstance(item.value, Body)
    (inner,) = item.value.items
    assert (inner.line, inner.column) == (3, 5)
    assert isinstance(inner.value, Scalar)
    assert (inner.value.line, inner.value.column) == (3, 14)


def test_a_block_with_an_equals_sign_is_the_same_block():
    assert plain(parse("a = { b = 1 }")) == plain(parse("a { b = 1 }"))


def test_entries_may_share_a_line_with_or_without_commas():
    assert plain(parse("a { b = 1, c = 2, }")) == plain(parse("a { b = 1 c = 2 }"))


def test_repeated_keys_are_all_kept_in_order():
    assert [item.key for item in parse("a = 1 b = 2 a = 3").items] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("operator {", "At 1:12: object expected closing RBRACE got: EOF"),
        ("server {\n", "At 2:2: object expected closing RBRACE got: EOF"),
        ("nothing", "At 1:9: key 'nothing' expected start of object ('{') or assignment ('=')"),
        (
            'a "b" }',
            "At 1:7: key 'a \"b\"' expected start of object ('{') or assignment ('=')",
        ),
        ("a { b = 1 ]", "At 1:11: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACK"),
        ("}", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE"),
        ("{}}", "At 1:3: unexpected RBRACE after the JSON object"),
        ("a {{}}", "At 1:4: expected: IDENT | STRING got: LBRACE"),
        ("= 1", "At 1:1: no object keys found!"),
        ('a "b" = {}', "At 1:7: nested object expected: LBRACE got: ASSIGN"),
        ("a = b", "At 1:5: Unknown token: 1:5 IDENT b"),
        ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"),
        ("a = [b]", "At 1:6: unexpected token while parsing list: IDENT"),
        ('a = "x', "At 1:7: literal not terminated"),
        ('a = "x\ny"', "At 1:7: literal not terminated"),
        ('a = "${x"', "At 1:10: literal not terminated"),
        (r'a = "\q"', "At 1:7: illegal char escape"),
        (r'a = "\ud800"', "At 1:7: illegal char escape"),
        ("a = <<EOF\nx\n", "At 3:1: heredoc not terminated"),
        ("a = <<\nx\n", "At 1:7: zero-length heredoc anchor"),
        ("a = <<A B\nx\n", "At 1:10: invalid characters in heredoc anchor"),
        ("a = <x", "At 1:6: heredoc expected second '<', didn't see it"),
        ("a = 0x", "At 1:7: illegal hexadecimal number"),
        ("a = 089", "At 1:8: illegal octal number"),
        ("/* x", "At 1:1: comment not terminated"),
        ("a / b", "At 1:3: expected '/' for comment"),
        ("a = 1 @", "At 1:7: illegal char"),
        ("a = 1 : 2", "At 1:7: illegal char"),
        ("a\0 = 1", "At 1:2: unexpected null character (0x00)"),
        (
            "a = 9223372036854775808",
            'At 1:5: strconv.ParseInt: parsing "9223372036854775808": value out of range',
        ),
        ("a = 1e999", 'At 1:5: strconv.ParseFloat: parsing "1e999": value out of range'),
        ('{"a": 1,,}', "At 1:9: expected: STRING | RBRACE got: COMMA"),
        ('{"a": [1,,2]}', "At 1:10: expected a JSON value, got: COMMA"),
        ("{,}", "At 1:2: expected: STRING | RBRACE got: COMMA"),
        ('{"a" 1}', "At 1:6: expected: COLON got: NUMBER"),
        ('{"a": nope}', "At 1:7: expected a JSON value, got: IDENT"),
        ('{"a": "\\x41"}', "At 1:7: illegal char escape"),
        ('{"a": "b\n"}', "At 1:9: literal not terminated"),
        ('{"a": [1', "At 1:10: expected: COMMA | RBRACK got: EOF"),
    ],
)
def test_an_error_has_a_text_and_a_position(text, message):
    with pytest.raises(HCLError) as caught:
        parse(text)
    assert str(caught.value) == message
    assert message.startswith(f"At {caught.value.line}:{caught.value.column}: ")


def test_json_is_the_same_tree_with_nested_keys_for_labels():
    hcl_text = 'acl { enabled = true }\nnode "web" { policy = "read" }\nlist = [1, "a"]'
    json_text = """
      {"acl": [{"enabled": true}], "node": {"web": {"policy": "read"}}, "list": [1, "a"]}"""
    seen = []
    for text in (hcl_text, json_text):
        acl, node, items = parse(text).items
        seen.append(
            (
                [plain(block.body) for block in blocks(acl)],
                [(block.labels, plain(block.body)) for block in blocks(node, labels=1)],
                plain(items.value),
            )
        )
    assert seen[0] == seen[1]
    assert seen[0][1] == [(("web",), {"": [("policy", (), "read")]})]


def test_json_may_have_one_comma_too_many_as_in_nomad():
    spare = parse('{"a": {"b": [1, 2,], "c": [],},}')
    assert plain(spare) == plain(parse('{"a": {"b": [1, 2], "c": []}}'))


def test_json_null_counts_as_not_written():
    assert plain(parse('{"a": null, "b": [null, 1]}')) == {"": [("b", (), [1])]}


def test_one_json_object_may_be_several_labeled_blocks():
    (item,) = parse('{"node": {"a": {"x": 1}, "b": [{"x": 2}, {"x": 3}]}}').items
    found = [(block.labels, plain(block.body)[""][0][2]) for block in blocks(item, labels=1)]
    assert found == [(("a",), 1), (("b",), 2), (("b",), 3)]


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("a = 1", 0, "At 1:5: a must be a block, not a single value"),
        ("a = [{}, 2]", 0, "At 1:10: a must be a block, not a single value"),
        ('a "b" {}', 0, "At 1:1: a takes 0 labels, got 1"),
        ("a { b = 1 }", 1, "At 1:9: b must be a block, not a single value"),
    ],
)
def test_an_item_that_is_not_such_a_block_is_refused(text, labels, message):
    (item,) = parse(text).items
    with pytest.raises(HCLError) as caught:
        list(blocks(item, labels))
    assert str(caught.value) == message


def test_a_text_over_one_mebibyte_is_refused_and_one_of_that_size_is_read():
    fits = "#" * (hcl.MAX_BYTES - 1) + "\n"
    assert parse(fits).items == ()
    with pytest.raises(HCLError, match="larger than 1048576 bytes"):
        parse(fits + "\n")
    with pytest.raises(HCLError, match="larger than 1048576 bytes"):
        parse("#" + "é" * (hcl.MAX_BYTES // 2))


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("a {", "}"), ("a = {", "}"), ('{"a":', "}"), ("[", "]")],
)
def test_a_hundred_levels_are_read_and_one_more_is_refused(opening, closing):
    json = opening == '{"a":'
    inner = "1" if json else ""
    first = "a = " if opening == "[" else ""
    parse(first + opening * 100 + inner + closing * 100)
    with pytest.raises(HCLError, match="nested deeper than 100 levels"):
        parse(first + opening * 101 + inner + closing * 101)
    with pytest.raises(HCLError, match="nested deeper than 100 levels"):
        parse(first + opening * 50_000)


@pytest.mark.parametrize("text", ["a " * 5000, "a = " + "b" * 5000, "a = " + "1" * 5000])
def test_a_long_text_is_cut_in_the_message(text):
    with pytest.raises(HCLError) as caught:
        parse(text)
    assert len(str(caught.value)) < 350


def executed_lines(text: str) -> int:
    """How many lines of the reader run for a text: a count, which no busy machine can move."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "hcl" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse(text)
    except HCLError:
        pass
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "piece",
    [
        'node "a" { policy = "read" }\n',
        "a = [1, 2, {b = 3}]\n",
        "a = <<E\nx\nE\n",
        'a = "\\n${x}"\n',
        "# comment\n/* more */\n",
        "a { b = 1 }, ",
        "a ",
    ],
)
def test_work_grows_with_the_text_and_not_faster(piece):
    small, large = executed_lines(piece * 50), executed_lines(piece * 400)
    assert large < small * 8.5


keys = st.text(string.ascii_letters, min_size=1, max_size=6).filter(
    lambda key: key.lower() not in {"true", "false", "null", "if", "in", "for", "else", "endif"}
)
words = st.text(string.ascii_letters + string.digits + " ._-:/", max_size=12)
simple = st.one_of(st.integers(-(2**53), 2**53), st.booleans(), words)
wild = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
trees = st.recursive(
    st.lists(st.tuples(keys, wild), max_size=4),
    lambda inner: st.lists(
        st.tuples(st.one_of(keys, st.tuples(keys, keys)), st.one_of(wild, st.lists(wild), inner)),
        max_size=4,
    ),
    max_leaves=12,
)


def quoted(text: str) -> str:
    """Any text as an HCL string; `$` is escaped lest it starts an interpolation."""
    out = "".join(
        char if char.isalnum() and ord(char) < 128 else f"\\U{ord(char):08x}" for char in text
    )
    return f'"{out}"'


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list) and not any(isinstance(entry, tuple) for entry in value):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, list):
        return "{\n" + "".join(map(entry_text, value)) + "}"
    return repr(value)


def entry_text(entry: tuple[Any, Any]) -> str:
    key, value = entry
    if isinstance(key, tuple):
        body = written(value)
        return f"{key[0]} {quoted(key[1])} {body}\n" if body[0] == "{" else f"{key[0]} = {body}\n"
    return f"{key} = {written(value)}\n"


def expected(entries: list[Any]) -> Any:
    out = []
    for key, value in entries:
        block = isinstance(value, list) and any(isinstance(entry, tuple) for entry in value)
        name, label = key if isinstance(key, tuple) else (key, None)
        labels = (label,) if block and label is not None else ()
        out.append((name, labels, expected(value) if block else value))
    return {"": out}


@fewer
@given(trees)
def test_written_text_is_read_back(entries):
    assert plain(parse("".join(map(entry_text, entries)))) == expected(entries)


nested = st.recursive(
    simple, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=4), max_leaves=10
)
documents = st.dictionaries(keys, st.one_of(nested, st.lists(words, max_size=3)), max_size=5)


def document_text(document: dict[str, Any], level: int = 0) -> str:
    """A document as all three readers take it: bare keys, blocks, plain strings."""
    out = []
    for key, value in document.items():
        if isinstance(value, dict):
            out.append(f"{key} {{\n{document_text(value, level + 1)}}}\n")
        elif isinstance(value, list):
            inside = ", ".join(f'"{e}"' if isinstance(e, str) else written(e) for e in value)
            out.append(f"{key} = [{inside}]\n")
        else:
            text = f'"{value}"' if isinstance(value, str) else written(value)
            out.append(f"{key} = {text}\n")
    return "".join(out)


def as_dict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_dict(inner) for key, _, inner in value[""]}
    return value


def from_hcl2(value: Any) -> Any:
    """Strings keep their quotes there, and each block is in a list."""
    if isinstance(value, dict):
        return {k.strip('"'): from_hcl2(v) for k, v in value.items() if k != "__is_block__"}
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return from_hcl2(value[0])
    if isinstance(value, list):
        return [from_hcl2(element) for element in value]
    if isinstance(value, str):
        return value[1:-1]
    return value


@fewer
@given(documents)
def test_pyhcl_reads_the_same(document):
    text = document_text(document)
    assert as_dict(plain(parse(text))) == document
    assert pyhcl.loads(text) == document


@fewer
@given(documents)
def test_python_hcl2_reads_the_same(document):
    text = document_text(document)
    assert from_hcl2(hcl2.loads(text)) == as_dict(plain(parse(text)))


@fewer
@given(st.dictionaries(st.text(), st.one_of(wild, st.lists(wild)), max_size=5))
def test_json_texts_are_read_as_json(document):
    try:
        text = msgspec.json.encode(document).decode()
    except UnicodeEncodeError:  # a lone surrogate cannot be written
        return
    assert as_dict(plain(parse(text))) == msgspec.json.decode(text)


@fewer
@given(st.text(alphabet=st.sampled_from(list('ab="{}[],<\n\\$#/*:-.019xeE \t\0é'))))
def test_any_text_is_a_tree_or_an_error_with_a_position_inside(text):
    try:
        parse(text)
    except HCLError as error:
        place = (error.line, error.column)
    else:
        place = (1, 1)
    assert place >= (1, 1)
    assert place[0] <= text.count("\n") + 1
