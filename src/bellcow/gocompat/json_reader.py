"""The first JSON value of a body, read with Go's texts for what is wrong.

Slower than msgspec, which says neither where a syntax error is nor which key stands twice.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 512
# Keeps the slow reader under 0.1 s for any body. A sensible body has fewer than a hundred values.
MAX_VALUES = 10_000
_SPACE = re.compile(rb"[ \t\r\n]*")
# At most 1,000 pieces a match: each one costs memory until the match ends.
_INSIDE = re.compile(rb'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,1000}')
_DIGITS = re.compile(rb"[0-9]*")
_HEX = b"0123456789abcdefABCDEF"
_LITERALS: dict[int, tuple[bytes, Any]] = {
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
    ord("n"): (b"null", None),
}


class DecodeError(ValueError):
    """Why a body is refused, in Go's words where clients match on them."""


class Number:
    """A number as written: whether it fits depends on the field."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Pairs(list[tuple[str, Any]]):
    """An object as written, with every repeated key. The fast reader makes a dict instead."""


def parse(body: bytes) -> Any:
    """The first JSON value: Pairs, list, str, Number, bool or None.

    Raises:
        DecodeError: there is none, or it is malformed.
    """
    reader = _Reader(body)
    if reader.space() is None:
        raise DecodeError("EOF")
    return reader.read()


class _Reader:
    """A scanner over bytes that refuses in Go's words."""

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
        """One value. Open containers are on a stack of our own, so that depth costs no frames.

        Raises:
            DecodeError: the value is malformed, too deep, or of too many values.
        """
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
        """Append a value to its container; True if the container ends after it."""
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
        """Move past all that matches from here."""
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
        """Refuse an invalid escape with Go's text; called after its backslash."""
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
    """The byte as Go shows it: the character of that number, in single quotes."""
    if byte == ord("'"):
        return "'\\''"
    char = chr(byte)
    if char.isprintable():
        return f"'{char}'"
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short is None:
        short = f"\\x{byte:02x}" if byte < 0x80 else f"\\u{byte:04x}"
    return f"'{short}'"
