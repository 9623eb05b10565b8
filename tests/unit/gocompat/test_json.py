"""Bodies read as Go's decoder reads them, against a slow and obvious reading of the same rules."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bellcow.gocompat.duration import Duration, parse_duration
from bellcow.gocompat.json import decode
from bellcow.gocompat.json_reader import MAX_DEPTH, MAX_VALUES, DecodeError, parse
from bellcow.model.acl import ACLToken
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import SchedulerConfiguration

UINT64_MAX = (1 << 64) - 1
TOP = "struct { LastContactThreshold string; ServerStabilizationTime string; *api.Alias }"
FIELDS = {
    "LastContactThreshold": "string",
    "ServerStabilizationTime": "string",
    "CleanupDeadServers": "bool",
    "MaxTrailingLogs": "uint64",
    "MinQuorum": "uint",
    "EnableRedundancyZones": "bool",
    "DisableUpgradeMigration": "bool",
    "EnableCustomUpgrades": "bool",
    "CreateIndex": "uint64",
    "ModifyIndex": "uint64",
}
DURATIONS = ("LastContactThreshold", "ServerStabilizationTime")


def refusal(kind: type, body: bytes | None) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(kind, body)
    return str(caught.value)


# The reference: one pass over the text for its syntax, one over the pairs for their types.


class Number(str):
    """A number as it is written."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object with its doubles."""


def refuse_constant(text: str) -> Any:
    raise ValueError(text)


REFERENCE = json.JSONDecoder(
    object_pairs_hook=Pairs,
    parse_int=Number,
    parse_float=Number,
    parse_constant=refuse_constant,
)


def read_first_value(body: bytes) -> Any:
    """The first JSON value of a body; ValueError where there is none. What follows is not seen."""
    text = body.decode("utf-8", "replace")
    value, _ = REFERENCE.raw_decode(text.lstrip(" \t\r\n"))
    return value


def kind_of(value: Any) -> str:
    if isinstance(value, Number):
        return "number"
    if isinstance(value, Pairs):
        return "object"
    return {bool: "bool", str: "string", list: "array"}[type(value)]


def reference(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """The fields that an autopilot body sets, or why it is refused; "syntax" for any such fault."""
    if not body.strip(b" \t\r\n"):
        return None, "EOF"
    try:
        value = read_first_value(body)
    except ValueError:
        return None, "syntax"
    if value is None:
        return {}, ""
    if not isinstance(value, Pairs):
        return None, f"json: cannot unmarshal {kind_of(value)} into Go value of type {TOP}"
    return fields_of(value)


def fields_of(pairs: Pairs) -> tuple[dict[str, Any] | None, str]:
    found: dict[str, Any] = {}
    first = ""
    for key, value in pairs:
        name = next((each for each in FIELDS if each.lower() == key.lower()), None)
        if name is None or value is None:
            continue
        wrong = mismatch(name, value)
        first = first or wrong
        if not wrong:
            found[name] = int(value) if isinstance(value, Number) else value
    if first:
        return None, first
    for name in DURATIONS:
        if name in found:
            try:
                found[name] = parse_duration(found[name]) if found[name] else 0
            except ValueError as error:
                return None, str(error)
    return found, ""


def mismatch(name: str, value: Any) -> str:
    want = FIELDS[name]
    kind = kind_of(value)
    if want in {"string", "bool"} and kind == want:
        return ""
    if want in {"uint64", "uint"} and kind == "number":
        if re.fullmatch("[0-9]+", value) and int(value) <= UINT64_MAX:
            return ""
        kind = f"number {value[:64]}"
    return f"json: cannot unmarshal {kind} into Go struct field .{name} of type {want}"


def by_decode(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """What decode makes of a body, in the words of the reference."""
    try:
        decoded = decode(AutopilotConfiguration, body)
    except DecodeError as error:
        text = str(error)
        typed = text == "EOF" or text.startswith(("json: ", "time: "))
        return None, text if typed else "syntax"
    default = AutopilotConfiguration()
    changed = {}
    for field in msgspec.structs.fields(AutopilotConfiguration):
        value = getattr(decoded.value, field.name)
        if value != getattr(default, field.name):
            changed[field.encode_name] = value.ns if isinstance(value, Duration) else value
    return changed, ""


def without_defaults(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    default = AutopilotConfiguration()
    plain = {
        field.encode_name: getattr(default, field.name)
        for field in msgspec.structs.fields(AutopilotConfiguration)
    }
    plain |= {name: plain[name].ns for name in DURATIONS}
    return {name: value for name, value in found.items() if value != plain[name]}


SPACE = st.sampled_from(["", "", "", " ", "\n", "\t \r\n"])
DURATION_TEXTS = st.sampled_from(
    ["5s", "200ms", "", "0", "-1h", "1d", "5", "1.5h", "x", "\u00b5", "1\u00b5s", "9999999h", ".s"]
)
KEYS = st.one_of(
    st.sampled_from(list(FIELDS)),
    st.sampled_from(list(FIELDS)).map(str.upper),
    st.sampled_from(list(FIELDS)).map(str.lower),
    st.sampled_from(["Other", "", "SchedulerConfig", "minquorum ", "\u00e9", "a:b", 'q"']),
)
ODD_NUMBERS = ["-0", "-1", "1.5", "1e3", "0.0", "-0.0", "1E+2", "9" * 400, str(UINT64_MAX + 1)]
NUMBERS = st.sampled_from(["0", "1", "250", str(UINT64_MAX), *ODD_NUMBERS])
SCALARS = st.one_of(
    st.sampled_from(["true", "false", "null", "[]", "{}"]),
    NUMBERS,
    DURATION_TEXTS.map(json.dumps),
    st.text(max_size=5).map(json.dumps),
    st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{json.dumps(k)} :{v}" for k, v in pairs) + "}"
        ),
    ),
    max_leaves=5,
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    pairs = draw(st.lists(st.tuples(KEYS, VALUES), max_size=6))
    parts = [
        f"{draw(SPACE)}{json.dumps(key)}{draw(SPACE)}:{draw(SPACE)}{value}" for key, value in pairs
    ]
    junk = draw(st.sampled_from(["", "", "", " ", "{}", " x", "]", ","]))
    return f"{draw(SPACE)}{{{','.join(parts)}}}{junk}".encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(objects()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        piece = draw(
            st.sampled_from([b"", b"{", b"}", b",", b":", b'"', b"\\", b"0", b"\x01", b"["])
        )
        body[at : at + draw(st.integers(0, 2))] = piece
    return bytes(body)


def agrees(body: bytes) -> None:
    found, why = reference(body)
    if b"\\ud" in body.lower():
        return  # a lone surrogate: Go replaces it, here it is refused
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return  # bytes that are no UTF-8 have a test of their own
    assert by_decode(body) == (without_defaults(found), why), body


@given(objects())
@example(b'{"MinQuorum":-0}')
@example(b'{"MinQuorum":1,"MinQuorum":null}')
@example(b'{"MinQuorum":"x","MinQuorum":1}')
@example(b'{"MinQuorum":"x","minquorum":[]}')
@example(b'{"ServerStabilizationTime":"y","LastContactThreshold":"x"}')
@example(b'{"LastContactThreshold":"x","MinQuorum":"y"}')
@example(b'{"LastContactThreshold":"x","LastContactThreshold":"5s"}')
def test_every_object_is_read_as_the_reference_reads_it(body: bytes) -> None:
    agrees(body)


@given(damaged())
@example(b'{"CleanupDeadServers":5,"a":}')
@example(b'{"a":1}}')
@example(b'{"a":01}')
@example(b'{"a":"\x7f"}')
def test_every_damaged_body_is_read_or_refused_as_the_reference_does(body: bytes) -> None:
    agrees(body)


@given(VALUES)
def test_every_value_at_the_top_is_read_as_the_reference_reads_it(text: str) -> None:
    agrees(text.encode("utf-8", "surrogatepass"))


@given(objects())
def test_the_slow_reader_and_the_fast_one_agree(body: bytes) -> None:
    """A blank line of junk behind sends any body to the slow reader."""
    assert by_decode(body) == by_decode(body + b" \x00")


@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":"\xff"}')
@example(b'{"\xff":1}')
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    for kind in (AutopilotConfiguration, SchedulerConfiguration, ACLToken):
        with contextlib.suppress(DecodeError):
            assert isinstance(decode(kind, body).value, kind)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (None, "Request body is empty"),
        (b"", "EOF"),
        (b" \r\n\t", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b'{"a":"', "unexpected EOF"),
        (b'{"a":tr', "unexpected EOF"),
        (b'{"a":-', "unexpected EOF"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        (
            b'{"CleanupDeadServers":true,}',
            "invalid character '}' looking for beginning of object key string",
        ),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":"\n"}', r"invalid character '\n' in string literal"),
        (b'{"a":"\x00"}', r"invalid character '\x00' in string literal"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"a":"\\u00g0"}', r"invalid character 'g' in \u hexadecimal character escape"),
        (b'{"a":-x}', "invalid character 'x' in numeric literal"),
        (b'{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"),
        (b'{"a":1ex}', "invalid character 'x' in exponent of numeric literal"),
        (b"\xef\xbb\xbf{}", "invalid character '\xef' looking for beginning of value"),
        (b"}", "invalid character '}' looking for beginning of value"),
    ],
)
def test_refusals_are_in_the_words_of_go(body: bytes | None, text: str) -> None:
    assert refusal(AutopilotConfiguration, body) == text


@pytest.mark.parametrize("kind", [AutopilotConfiguration, SchedulerConfiguration])
def test_depth_is_bounded_and_costs_no_frames(kind: type) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        fits = b'{"x":%b1%b}' % (opening * (MAX_DEPTH - 1), closing * (MAX_DEPTH - 1))
        assert decode(kind, fits).unknown == ("x",)
        deeper = b'{"x":%b1%b} ' % (opening * 100_000, closing * 100_000)
        assert refusal(kind, deeper) == "exceeded max depth"


def test_unknown_keys_are_named_with_the_place_where_they_stand() -> None:
    body = b'{"Wrong":1,"PreemptionConfig":{"Other":2,"SystemSchedulerEnabled":false}}'
    decoded = decode(SchedulerConfiguration, body)
    assert decoded.unknown == ("Wrong", "PreemptionConfig.Other")
    assert not decoded.value.preemption_config.system_scheduler_enabled


def test_a_body_wrapped_as_in_the_answer_to_get_is_accepted() -> None:
    body = b'{"Index":5,"schedulerconfig":{"SchedulerAlgorithm":"spread"},"KnownLeader":true}'
    assert decode(SchedulerConfiguration, body).value.scheduler_algorithm == "spread"


def test_null_differs_from_an_empty_object() -> None:
    assert decode(SchedulerConfiguration, b" null ").null
    assert not decode(SchedulerConfiguration, b"{}").null


def test_bytes_that_are_no_utf_8_become_the_replacement_character() -> None:
    body = b'{"SchedulerAlgorithm":"a\xff\xc3(b"}'
    assert decode(SchedulerConfiguration, body).value.scheduler_algorithm == "a\ufffd\ufffd(b"


def test_a_nested_type_error_names_the_path_as_go_does() -> None:
    body = b'{"PreemptionConfig":{"SystemSchedulerEnabled":"x"}}'
    assert refusal(SchedulerConfiguration, body) == (
        "json: cannot unmarshal string into Go struct field "
        "PreemptionConfig.PreemptionConfig.SystemSchedulerEnabled of type bool"
    )
    assert refusal(SchedulerConfiguration, b'{"SchedulerAlgorithm":[]}') == (
        "json: cannot unmarshal array into Go struct field "
        "SchedulerConfiguration.SchedulerAlgorithm of type api.SchedulerAlgorithm"
    )


def test_client_input_is_cut_in_a_refusal() -> None:
    number = b'{"MinQuorum":%b}' % (b"9" * 100_000)
    duration = b'{"LastContactThreshold":"%b"}' % (b"9" * 900)
    long = b'{"LastContactThreshold":"%b"}' % (b"1ns" * 300_000)
    for body in (number, duration, long):
        assert len(refusal(AutopilotConfiguration, body)) < 300


def test_lists_of_texts_differ_from_texts() -> None:
    assert decode(ACLToken, b'{"Policies":["a","b"]}').value.policies == ("a", "b")
    assert decode(ACLToken, b'{"Policies":null}').value.policies is None
    for body in (b'{"Policies":"a"}', b'{"Policies":["a",1]}', b'{"Policies":{}}'):
        assert refusal(ACLToken, body).startswith("json: cannot unmarshal ")


@given(VALUES)
def test_the_first_value_ends_where_it_ends(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    try:
        value = parse(body)
    except DecodeError:
        return
    again = parse(body + b"   \xff{junk")
    assert repr(type(again)) == repr(type(value))


@pytest.mark.parametrize("body", [b"[%s-0]", b'{"a": {%s"x": -0}}', b'{"a": 1, "a": [%s0]}'])
def test_a_body_for_the_slow_reader_has_a_bounded_number_of_values(body: bytes) -> None:
    piece = b'"k": 0,' if b"{%s" in body else b"0,"
    with pytest.raises(DecodeError, match=f"more than {MAX_VALUES} values"):
        decode(SchedulerConfiguration, body % (piece * MAX_VALUES))
    few = body % (piece * (MAX_VALUES // 10))
    with contextlib.suppress(DecodeError):  # an array at the top is another fault
        assert decode(SchedulerConfiguration, few).unknown == ("a",) * few.count(b'"a"')


def test_a_plain_body_may_have_any_number_of_values() -> None:
    body = b'{"a": [%s0]}' % (b"0," * (2 * MAX_VALUES))
    assert decode(SchedulerConfiguration, body).unknown == ("a",)
