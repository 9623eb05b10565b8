"""JSON bodies read as Go's decoder reads them, because clients lean on its ways and on its texts.

A clean body is decoded by msgspec. Any other goes through the slow reader, which takes the first
value and ignores what follows. Keys match without regard to case, the last of two wins, unknown
keys are ignored and named, and what is wrong is said in Go's words. Source: the behavior of
encoding/json.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from bellcow.wire import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 512
UINT64_MAX = (1 << 64) - 1
DURATION_CHARS = 1_000  # reading a longer one takes time by the square of its length
SHOWN_CHARS = 200  # of a message that repeats what the client sent

# Values in a body that the fast reader does not take: at most 0.1 s for the slow one, whatever they
# are. A body that means something here has fewer than a hundred.
MAX_VALUES = 10_000

_SPACE = re.compile(rb"[ \t\r\n]*")
# A number of pieces at a time: each one costs memory until the match ends.
_INSIDE = re.compile(rb'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,1000}')
_DIGITS = re.compile(rb"[0-9]*")
_HEX = b"0123456789abcdefABCDEF"
_LITERALS: dict[int, tuple[bytes, Any]] = {
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
    ord("n"): (b"null", None),
}


class DecodeError(ValueError):
    """Why a body is refused, in Go's words where clients are known to match on them."""


class Number:
    """A number as it stood in the text: whether it fits depends on the field."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Pairs(list[tuple[str, Any]]):
    """An object as it stood in the text, doubles included. A clean one is a dict."""


class Decoded(msgspec.Struct, frozen=True):
    """A struct, the keys that no field took, and whether the body was `null`."""

    value: Any
    unknown: tuple[str, ...] = ()
    known: int = 0
    null: bool = False


class _AskAgain(Exception):
    pass


def decode(kind: type, body: bytes | None) -> Decoded:
    """A struct of `kind` from a body, None for no body at all; raises DecodeError."""
    if body is None:
        raise DecodeError("Request body is empty")
    try:
        return _decode_clean(kind, body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, _AskAgain):
        return _bind_top(kind, parse(body), exact=True)


def _decode_clean(kind: type, body: bytes) -> Decoded:
    if b"-0" in body:
        raise _AskAgain  # minus zero is no unsigned number, and would be read as zero
    decoded = _bind_top(kind, msgspec.json.decode(body), exact=False)
    if body.count(b":") != decoded.known + len(decoded.unknown):
        raise _AskAgain  # a key may be there twice, of which only the last was kept
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
        # What GET answers is this object inside another: taken as what it means.
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
        raise _AskAgain  # the words of the refusal need the text
    if binder.problem:
        raise DecodeError(binder.problem)
    return Decoded(bound, tuple(binder.unknown), binder.known)


class _Binder:
    """Binds one body. A type error does not stop it; the first one is what the client is told."""

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
                continue  # as if it were not there: Go cannot tell the two apart
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
    """A value of any kind as a clean body would have given it; what is inside it stays."""
    if isinstance(value, Number):
        return float(value.text)
    return dict(value) if isinstance(value, Pairs) else value


def _is_text_map(value: Any) -> bool:
    return _is_object(value) and all(
        text is None or isinstance(text, str) for _, text in _items(value)
    )


def _kind(value: Any) -> str:
    """What Go calls the kind of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float, Number)):
        return "number"
    return "object" if _is_object(value) else "array"


# The slow reader


def parse(body: bytes) -> Any:
    """The first JSON value: Pairs, list, str, Number, bool or None. Raises DecodeError."""
    reader = _Reader(body)
    if reader.space() is None:
        raise DecodeError("EOF")
    return reader.read()


class _Reader:
    """A scanner over bytes, with Go's words for what it does not like."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def space(self) -> int | None:
        """Skip white space; the byte that follows, None at the end."""
        self._skip(_SPACE)
        return self._peek()

    def _peek(self) -> int | None:
        return self._body[self._at] if self._at < len(self._body) else None

    def _need(self) -> int:
        byte = self.space()
        if byte is None:
            raise DecodeError("unexpected EOF")
        return byte

    def _bad(self, where: str) -> NoReturn:
        byte = self._peek()
        if byte is None:
            raise DecodeError("unexpected EOF")
        raise DecodeError(f"invalid character {_quote_byte(byte)} {where}")

    def read(self) -> Any:
        """One value. Containers still open stand on a stack: depth must not cost frames."""
        stack: list[Pairs | list[Any]] = []
        keys: list[str] = []
        for _ in range(MAX_VALUES):
            byte = self._need()
            if byte in b"{[":
                if len(stack) >= MAX_DEPTH:
                    raise DecodeError("exceeded max depth")
                self._at += 1
                opened: Pairs | list[Any] = Pairs() if byte == ord("{") else []
                if self._need() != (ord("}") if byte == ord("{") else ord("]")):
                    stack.append(opened)
                    if isinstance(opened, Pairs):
                        keys.append(self._key())
                    continue
                self._at += 1
                value: Any = opened
            else:
                value = self._scalar(byte)
            while stack and self._closes(stack[-1], keys, value):
                value = stack.pop()
            if not stack:
                return value
        raise DecodeError(f"more than {MAX_VALUES} values")

    def _closes(self, container: Pairs | list[Any], keys: list[str], value: Any) -> bool:
        """Put a value into its container; whether the container ends after it."""
        is_object = isinstance(container, Pairs)
        container.append((keys.pop(), value) if is_object else value)
        if self._need() == (ord("}") if is_object else ord("]")):
            self._at += 1
            return True
        if self._peek() != ord(","):
            self._bad("after object key:value pair" if is_object else "after array element")
        self._at += 1
        if is_object:
            keys.append(self._key())
        return False

    def _key(self) -> str:
        if self._need() != ord('"'):
            self._bad("looking for beginning of object key string")
        key = self._string()
        if self._need() != ord(":"):
            self._bad("after object key")
        self._at += 1
        return key

    def _scalar(self, byte: int) -> Any:
        if byte == ord('"'):
            return self._string()
        if byte in _LITERALS:
            return self._literal(*_LITERALS[byte])
        if byte in b"-0123456789":
            return self._number()
        return self._bad("looking for beginning of value")

    def _literal(self, word: bytes, value: Any) -> Any:
        for wanted in word:
            if self._peek() != wanted:
                expecting = _quote_byte(wanted)
                self._bad(f"in literal {word.decode()} (expecting {expecting})")
            self._at += 1
        return value

    def _number(self) -> Number:
        start = self._at
        if self._peek() == ord("-"):
            self._at += 1
        if self._peek() == ord("0"):
            self._at += 1
        else:
            self._digits()
        if self._peek() == ord("."):
            self._at += 1
            self._digits("after decimal point in numeric literal")
        if self._peek() in (ord("e"), ord("E")):
            self._at += 1
            if self._peek() in (ord("+"), ord("-")):
                self._at += 1
            self._digits("in exponent of numeric literal")
        return Number(self._body[start : self._at].decode("ascii"))

    def _digits(self, where: str = "in numeric literal") -> None:
        start = self._at
        self._skip(_DIGITS)
        if self._at == start:
            self._bad(where)

    def _skip(self, run: re.Pattern[bytes]) -> None:
        """Past all that matches from here."""
        match = run.match(self._body, self._at)
        self._at = match.end() if match else self._at

    def _string(self) -> str:
        start = self._at
        self._at += 1
        while match := _INSIDE.match(self._body, self._at):
            self._at = match.end()
        if self._peek() == ord("\\"):
            self._at += 1
            self._escape()
        if self._peek() != ord('"'):
            self._bad("in string literal")
        self._at += 1
        text = self._body[start : self._at].decode("utf-8", "replace")
        try:
            return msgspec.json.decode(text, type=str)
        except msgspec.MsgspecError as error:
            raise DecodeError("invalid surrogate in string literal") from error

    def _escape(self) -> None:
        """Name what is wrong with an escape that is none."""
        byte = self._peek()
        if byte == ord("u"):
            self._at += 1
            for _ in range(4):
                digit = self._peek()
                if digit is None or digit not in _HEX:
                    self._bad("in \\u hexadecimal character escape")
                self._at += 1
        elif byte is not None and byte in b'"\\/bfnrt':
            self._at += 1
        else:
            self._bad("in string escape code")


def _quote_byte(byte: int) -> str:
    """Go shows the byte as the character of that number."""
    if byte == ord("'"):
        return "'\\''"
    char = chr(byte)
    if char.isprintable():
        return f"'{char}'"
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short is None:
        short = f"\\x{byte:02x}" if byte < 0x80 else f"\\u{byte:04x}"
    return f"'{short}'"
