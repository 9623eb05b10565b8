"""The scanner under the HCL 1 reader: characters in, tokens with positions out.

It reads HCL 1's words and escapes, and JSON's strings, but no grammar. The input is untrusted:
every character is read a fixed number of times.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

_INT64 = 1 << 63
# One space or comment.
_SKIP = re.compile(r"[ \t\r\n]+|#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<IDENT>[^\W\d][\w.\-]*)"
    r"|(?P<NUMBER>-?(?:0[xX][0-9a-fA-F]*|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?)|\.[0-9]+)"
    r'|(?P<STRING>")|(?P<HEREDOC><)'
    r"|(?P<LBRACE>\{)|(?P<RBRACE>\})|(?P<LBRACK>\[)|(?P<RBRACK>\])"
    r"|(?P<COMMA>,)|(?P<ASSIGN>=)|(?P<PERIOD>\.)|(?P<ADD>\+)|(?P<SUB>-)|(?P<COLON>:)"
)
_PLAIN = re.compile(r'[^"\\$\n]*')
_IN_BRACES = re.compile(r"[^{}]*")
_ESCAPE = re.compile(r'\\(?:[abfnrtv\\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})')
_ANCHOR = re.compile(r"<<(-?)(\w+)\n")
_JSON_STRING = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"')
_NO_NEWLINE = re.compile(r"[^\n]*")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class HCLError(ValueError):
    """The text is not HCL 1; `str` is the message with the position, as HCL 1 words it."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"At {line}:{column}: {problem}")
        self.line = line
        self.column = column
        self.problem = problem


class Token(NamedTuple):
    kind: str
    text: str  # as written
    value: str | int | float | bool
    line: int
    column: int


class Tokens:
    """The scanner: one token at a time, with a lookahead of one."""

    def __init__(self, text: str, *, json: bool = False) -> None:
        self.text = text
        self.json = json
        self.pos = 0
        self.line = 1
        self.line_start = 0
        self.counted = 0  # newlines before this offset are in `line`
        self.past_end = 0
        self.ahead: Token | None = None

    def next(self) -> Token:
        if self.ahead is not None:
            token, self.ahead = self.ahead, None
            return token
        return self._scan()

    def peek(self) -> Token:
        if self.ahead is None:
            self.ahead = self._scan()
        return self.ahead

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset. Offsets must not decrease from call to call."""
        newlines = self.text.count("\n", self.counted, offset)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rfind("\n", self.counted, offset) + 1
        self.counted = max(self.counted, offset)
        return self.line, offset - self.line_start + 1

    def error(self, offset: int, problem: str) -> HCLError:
        return HCLError(*self.place(offset), problem)

    def _scan(self) -> Token:
        start = self.pos
        while skipped := _SKIP.match(self.text, start):
            start = skipped.end()
        if start >= len(self.text):
            return self._end(self.text[self.pos :])
        self.pos = start
        found = _TOKEN.match(self.text, start)
        line, column = self.place(start)
        if found is None or found.lastgroup is None:
            raise self.error(start, _illegal(self.text, start))
        kind, text = found.lastgroup, found[0]
        self.pos = found.end()
        value: str | int | float | bool = text
        if kind == "STRING":
            value = self._json_string(start) if self.json else self._string(start)
            text = self.text[start : self.pos]
        elif kind == "HEREDOC":
            value = self._heredoc(start)
        elif kind == "NUMBER":
            kind, value = self._number(text, start)
        elif text in {"true", "false"}:
            kind, value = "BOOL", text == "true"
        elif kind == "COLON" and not self.json:
            raise self.error(start, "illegal char")
        if kind in {"IDENT", "BOOL", "NUMBER", "FLOAT"} and self.pos == len(self.text):
            self.past_end += 1
        return Token(kind, text, value, line, column)

    def _end(self, skipped: str) -> Token:
        """The token at the end of the text; it can be read repeatedly.

        Nomad: each read past the end moves the column in messages by one; a word or a line comment
        that touches the end counts as such a read.
        """
        last_line = skipped.rpartition("\n")[2]
        self.past_end += "#" in last_line or "//" in last_line
        self.pos = len(self.text)
        line, column = self.place(self.pos)
        column += self.past_end
        self.past_end += 1
        return Token("EOF", "", "", line, column)

    def _number(self, text: str, start: int) -> tuple[str, int | float]:
        digits = text.removeprefix("-")
        if digits[:2] in {"0x", "0X"}:
            if len(digits) == 2:
                raise self.error(self.pos, "illegal hexadecimal number")
            base = 16
        elif not digits.isdigit():
            return "FLOAT", self._float(text, start)
        elif len(digits) > 1 and digits[0] == "0":
            if "8" in digits or "9" in digits:
                raise self.error(self.pos, "illegal octal number")
            base = 8
        else:
            base = 10
        # The length is checked before int(): the digits are untrusted.
        value = int(text, base) if len(text) <= 70 else _INT64
        if not -_INT64 <= value < _INT64:
            raise self.error(start, f'strconv.ParseInt: parsing "{text[:80]}": value out of range')
        return "NUMBER", value

    def _float(self, text: str, start: int) -> float:
        try:
            value = float(text)
        except ValueError:
            bad = f'strconv.ParseFloat: parsing "{text[:80]}": invalid syntax'
            raise self.error(start, bad) from None
        if value in {float("inf"), float("-inf")}:
            raise self.error(
                start, f'strconv.ParseFloat: parsing "{text[:80]}": value out of range'
            )
        return value

    def _string(self, start: int) -> str:
        text = self.text
        pieces = []
        pos = start + 1
        while True:
            end = _end_of(_PLAIN, text, pos)
            pieces.append(text[pos:end])
            pos = end
            char = text[pos : pos + 1]
            if char == '"':
                self.pos = pos + 1
                return "".join(pieces)
            if char == "$":
                end = self._interpolation(pos) if text.startswith("${", pos) else pos + 1
                pieces.append(text[pos:end])
                pos = end
            elif char == "\\":
                escape = _ESCAPE.match(text, pos)
                if escape is None:
                    raise self.error(pos + 1, "illegal char escape")
                pieces.append(self._escaped(escape[0], pos))
                pos = escape.end()
            else:
                raise self.error(pos, "literal not terminated")

    def _json_string(self, start: int) -> str:
        found = _JSON_STRING.match(self.text, start)
        if found is None:
            raise self.error(_end_of(_NO_NEWLINE, self.text, start), "literal not terminated")
        self.pos = found.end()
        try:
            return msgspec.json.decode(found[0].encode("utf-8", "surrogatepass"), type=str)
        except msgspec.DecodeError:
            raise self.error(start, "illegal char escape") from None

    def _escaped(self, escape: str, pos: int) -> str:
        letter, digits = escape[1], escape[2:]
        if letter in "xuU":
            code = int(digits, 16)
        elif letter in "01234567":
            code = int(escape[1:], 8)
        else:
            return _LETTERS.get(letter, letter)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self.error(pos + 1, "illegal char escape")
        return chr(code)

    def _interpolation(self, pos: int) -> int:
        """The offset after the brace that closes the `${` at `pos`; its content is not decoded."""
        depth = 0
        while True:
            pos = _end_of(_IN_BRACES, self.text, pos)
            char = self.text[pos : pos + 1]
            if not char:
                raise self.error(pos, "literal not terminated")
            pos += 1
            depth += 1 if char == "{" else -1
            if depth == 0:
                return pos

    def _heredoc(self, start: int) -> str:
        text = self.text
        if not text.startswith("<<", start):
            raise self.error(start + 1, "heredoc expected second '<', didn't see it")
        anchor = _ANCHOR.match(text, start)
        if anchor is None:
            line_end = text.find("\n", start)
            if line_end < 0:
                raise self.error(len(text), "heredoc not terminated")
            empty = text[start + 2 : line_end] in {"", "-"}
            bad = "zero-length heredoc anchor" if empty else "invalid characters in heredoc anchor"
            raise self.error(line_end, bad)
        pos = anchor.end()
        while True:
            line_end = text.find("\n", pos)
            if line_end < 0:
                raise self.error(len(text), "heredoc not terminated")
            line = text[pos:line_end]
            if line.strip() == anchor[2] and line.rstrip("\r").endswith(anchor[2]):
                break
            pos = line_end + 1
        self.pos = line_end
        indent = line[: len(line) - len(line.lstrip())]
        content = text[anchor.end() : pos]
        return _unindented(content, indent) if anchor[1] else content + indent


def _end_of(pattern: re.Pattern[str], text: str, pos: int) -> int:
    found = pattern.match(text, pos)
    return found.end() if found else pos


def _unindented(content: str, indent: str) -> str:
    """Nomad: the indentation of the last line is removed, if every line has it."""
    lines = content.split("\n")[:-1]
    if all(line.startswith(indent) for line in lines):
        return "".join(line.removeprefix(indent) + "\n" for line in lines)
    return content


def _illegal(text: str, pos: int) -> str:
    char = text[pos]
    if char == "\0":
        return "unexpected null character (0x00)"
    if char == "/":
        return (
            "comment not terminated" if text.startswith("/*", pos) else "expected '/' for comment"
        )
    return "illegal char"


def kind_name(token: Token) -> str:
    """The name of a token's kind in messages."""
    return "ILLEGAL" if token.kind == "COLON" else token.kind
