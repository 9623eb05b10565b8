"""JSON bodies decoded as Go's encoding/json does it, because clients rely on its rules and texts.

A clean body is decoded by msgspec. Any other goes through `json_reader`, which reads the first
value and ignores what follows. Keys match in any case, the last of two equal keys wins, unknown
keys are ignored and listed, and refusals are in Go's words.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.gocompat.duration import Duration
from bellcow.gocompat.json_reader import DecodeError, Number, Pairs, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

UINT64_MAX = (1 << 64) - 1
DURATION_CHARS = 1_000  # reading takes time quadratic in the length
SHOWN_CHARS = 200  # of a message that repeats client input


class Decoded(msgspec.Struct, frozen=True):
    """A struct, the unknown keys, the number of known keys, and whether the body was `null`."""

    value: Any
    unknown: tuple[str, ...] = ()
    known: int = 0
    null: bool = False


class _AskAgain(Exception):
    pass


def decode(kind: type, body: bytes | None) -> Decoded:
    """A struct of `kind` from a body; None is no body.

    Raises:
        DecodeError: there is no body, it is malformed, or a value does not fit its field.
    """
    if body is None:
        raise DecodeError("Request body is empty")
    try:
        return _decode_clean(kind, body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, _AskAgain):
        return _bind_top(kind, parse(body), exact=True)


def _decode_clean(kind: type, body: bytes) -> Decoded:
    if b"-0" in body:
        raise _AskAgain  # msgspec would read minus zero as zero; Go refuses it for unsigned fields
    decoded = _bind_top(kind, msgspec.json.decode(body), exact=False)
    if body.count(b":") != decoded.known + len(decoded.unknown):
        raise _AskAgain  # a key may be repeated, and msgspec keeps only the last
    return decoded


# Binding a value to a struct


class _Field(msgspec.Struct, frozen=True):
    attribute: str
    wire: str
    base: Any
    go_type: str


@functools.cache
def _fields(kind: type) -> dict[str, _Field]:
    """The fields of a struct by lower-case wire name."""
    hints = typing.get_type_hints(kind)
    named: dict[str, str] = getattr(kind, "GO_FIELD_TYPES", {})
    out = {}
    for field in msgspec.structs.fields(kind):
        base = _base(hints[field.name])
        go_type = named.get(field.encode_name) or _go_type(base)
        out[field.encode_name.lower()] = _Field(field.name, field.encode_name, base, go_type)
    return out


def _base(annotation: Any) -> Any:
    """The annotation without `| None`."""
    if isinstance(annotation, types.UnionType):
        return next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    return annotation


def _go_type(base: Any) -> str:
    if base is bool:
        return "bool"
    if base is int:
        return "uint64"
    if base in (str, Duration):
        return "string"
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        return getattr(base, "GO_TYPE", f"api.{base.__name__}")
    return "map[string]string" if typing.get_origin(base) is dict else "[]string"


def _bind_top(kind: type, value: Any, *, exact: bool) -> Decoded:
    wrapper: str = getattr(kind, "WRAPPER", "")
    if wrapper and _is_object(value):
        # The answer to GET wraps this object in another: accept that form too.
        inner = [v for k, v in _items(value) if k.lower() == wrapper.lower()]
        if inner and _is_object(inner[-1]):
            value = inner[-1]
    if value is None:
        return Decoded(kind(), null=True)
    if not _is_object(value):
        name = getattr(kind, "GO_TYPE", f"api.{kind.__name__}")
        raise DecodeError(f"json: cannot unmarshal {_kind(value)} into Go value of type {name}")
    binder = _Binder(exact=exact)
    bound = binder.struct(kind, _items(value), "")
    if binder.problem and not exact:
        raise _AskAgain  # the refusal quotes the body as written
    if binder.problem:
        raise DecodeError(binder.problem)
    return Decoded(bound, tuple(binder.unknown), binder.known)


class _Binder:
    """Binds one body. It goes on after a type error, and reports the first one."""

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self.problem = ""
        self.unknown: list[str] = []
        self.known = 0

    def struct(self, kind: type, pairs: Iterable[tuple[str, Any]], path: str) -> Any:
        fields = _fields(kind)
        values: dict[str, Any] = {}
        durations: dict[str, str] = {}
        seen: set[str] = set()
        for key, value in pairs:
            field = fields.get(key.lower())
            if field is None:
                self.unknown.append(path + key)
                continue
            if field.wire in seen and not self._exact:
                raise _AskAgain
            seen.add(field.wire)
            self.known += 1
            if value is None or (value == "" and field.base is str):
                continue  # Go cannot distinguish this from a missing key
            bound = self._value(kind, field, value, path)
            if field.base is Duration and isinstance(bound, str):
                durations[field.attribute] = bound
            elif bound is not _MISMATCH:
                values[field.attribute] = bound
        if not self.problem:
            # Nomad: the durations are read after all else, in the order of the struct.
            for field in fields.values():
                if field.attribute in durations:
                    values[field.attribute] = self._duration(durations[field.attribute])
        return None if self.problem else kind(**values)

    def _duration(self, text: str) -> Duration:
        problem = f"time: a duration of {len(text)} characters is too long"
        if len(text) <= DURATION_CHARS:
            try:
                return Duration.parse(text) if text else Duration(0)
            except ValueError as error:
                problem = str(error)[:SHOWN_CHARS]
        self.problem = self.problem or problem
        return Duration(0)

    def _value(self, kind: type, field: _Field, value: Any, path: str) -> Any:
        base = field.base
        if base is bool and isinstance(value, bool):
            return value
        if base in (str, Duration) and isinstance(value, str):
            return value
        if base is int and (isinstance(value, Number) or type(value) is int):
            number = _unsigned(value)
            if number is not None:
                return number
        if isinstance(base, type) and issubclass(base, msgspec.Struct) and _is_object(value):
            return self.struct(base, _items(value), f"{path}{field.wire}.")
        if typing.get_origin(base) is tuple and _is_texts(value):
            return tuple(value)
        if typing.get_origin(base) is dict and _is_text_map(value):
            return {name: text or "" for name, text in _items(value)}
        if base is Any:
            return _plain(value)
        self._mismatch(kind, field, value, path)
        return _MISMATCH

    def _mismatch(self, kind: type, field: _Field, value: Any, path: str) -> None:
        what = _kind(value)
        if isinstance(value, Number) and field.base is int:
            what = f"number {value.text[:64]}"
        struct = getattr(kind, "GO_STRUCT", kind.__name__)
        self.problem = self.problem or (
            f"json: cannot unmarshal {what} into Go struct field "
            f"{struct}.{path}{field.wire} of type {field.go_type}"
        )


_MISMATCH = object()


def _unsigned(value: Number | int) -> int | None:
    if isinstance(value, int):
        return value if 0 <= value <= UINT64_MAX else None
    if not value.text.isdigit() or len(value.text) > 20:
        return None
    number = int(value.text)
    return number if number <= UINT64_MAX else None


def _is_object(value: Any) -> bool:
    return isinstance(value, (dict, Pairs))


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else value


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and not isinstance(value, Pairs)
        and all(isinstance(item, str) for item in value)
    )


def _plain(value: Any) -> Any:
    """A value as msgspec would have decoded it; nested values are left alone."""
    if isinstance(value, Number):
        return float(value.text)
    return dict(value) if isinstance(value, Pairs) else value


def _is_text_map(value: Any) -> bool:
    return _is_object(value) and all(
        text is None or isinstance(text, str) for _, text in _items(value)
    )


def _kind(value: Any) -> str:
    """Go's name for the kind of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float, Number)):
        return "number"
    return "object" if _is_object(value) else "array"
