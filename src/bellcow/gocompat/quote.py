"""Quoting and escaping as Go does it: `%q` of package `fmt`, for texts that come from clients."""

from __future__ import annotations

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


def go_quote(text: str, limit: int | None = None) -> str:
    """Go's `%q`: the text in double quotes, with every unprintable character escaped.

    A text longer than `limit` characters is cut there and ends in three dots.
    """
    cut = text if limit is None or len(text) <= limit else text[:limit]
    dots = "..." if len(cut) < len(text) else ""
    if cut.isprintable() and '"' not in cut and "\\" not in cut:
        return f'"{cut}{dots}"'
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in cut) + dots + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as surrogateescape decodes it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str, limit: int) -> str:
    """The first `limit` characters of the text, unquoted, with unprintable characters escaped."""
    cut = text if len(text) <= limit else f"{text[:limit]}..."
    return "".join(char if char.isprintable() else _escaped(char) for char in cut)
