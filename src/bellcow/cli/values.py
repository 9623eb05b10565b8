"""Values as Go's flag library reads and writes them: booleans, unsigned numbers, durations, quotes.

Knows nothing of commands; every refusal is a ValueError with Go's text.
"""

from __future__ import annotations

import re

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_UINT_MAX = (1 << 64) - 1
_UINT_FORMS = (
    (re.compile(r"0[xX]([0-9a-fA-F]+)"), 16),
    (re.compile(r"0[bB]([01]+)"), 2),
    (re.compile(r"0[oO]?([0-7]+)"), 8),
    (re.compile(r"(0|[1-9][0-9]*)"), 10),
)
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(text: str) -> str:
    """Go's `%q`: printable characters stand, everything else is escaped."""
    return '"' + "".join(_ESCAPES.get(char) or _escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_bool(text: str) -> bool:
    """Go's `strconv.ParseBool`."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_uint(text: str) -> int:
    """Go's `strconv.ParseUint` in base 0: decimal, `0x`, `0b`, and octal with `0` or `0o`."""
    for form, base in _UINT_FORMS:
        found = form.fullmatch(text)
        # The length is checked before int(): a number of a million digits takes minutes to read.
        if found and len(found[1].lstrip("0")) > 64:
            break
        if found:
            number = int(found[1], base)
            if number <= _UINT_MAX:
                return number
            break
    else:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration."""
    from bellcow.wire import parse_duration as parse

    return parse(text)
