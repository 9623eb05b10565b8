"""Values as Go's flag library reads and writes them: booleans, unsigned numbers, durations.

Every refusal is a ValueError with Go's text.
"""

from __future__ import annotations

from bellcow.gocompat.quote import go_quote

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_UINT_MAX = (1 << 64) - 1
_BASES = {"0x": 16, "0b": 2, "0o": 8}
_DIGITS = "0123456789abcdef"


def parse_bool(text: str) -> bool:
    """Go's `strconv.ParseBool`.

    Raises:
        ValueError: the text is none of Go's booleans.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")


def parse_uint(text: str) -> int:
    """Go's `strconv.ParseUint` in base 0: decimal, `0x`, `0b`, and octal with `0` or `0o`.

    Raises:
        ValueError: the text is no number, or one of more than 64 bits; the message is Go's.
    """
    base = _BASES.get(text[:2].lower(), 0)
    digits = text[2:] if base else text
    if not base:
        base = 8 if len(text) > 1 and text[0] == "0" else 10
    if not digits or not set(digits.lower()) <= set(_DIGITS[:base]):
        raise ValueError(f"strconv.ParseUint: parsing {go_quote(text)}: invalid syntax")
    # The length is checked before int(): a million digits would take minutes.
    if len(digits.lstrip("0")) > 64 or int(digits, base) > _UINT_MAX:
        raise ValueError(f"strconv.ParseUint: parsing {go_quote(text)}: value out of range")
    return int(digits, base)


def parse_int(text: str) -> int:
    """A signed decimal number, with the error of Go's own integer flags.

    Raises:
        ValueError: the text is no number of at most 19 digits.
    """
    digits = text[1:] if text[:1] in {"-", "+"} else text
    if not digits or len(digits) > 19 or not set(digits) <= set(_DIGITS[:10]):
        raise ValueError("parse error")
    return int(text)
