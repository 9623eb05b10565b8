"""The expressions of `-filter`: a part of the language of Nomad's filters (hashicorp/go-bexpr).

`==`, `!=`, `in`, `contains`, `matches`, `is empty`, the words also with `not`; `and`, `or`, `not`,
parentheses, and selectors with dots. Pure: an expression becomes nested functions of one decoded
object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeAlias

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<sign>==|!=|\(|\))
    |(?P<word>[^\s()=!"`]+)""",
    re.VERBOSE,
)
_SELECTOR = re.compile(r'[A-Za-z_][\w\-]*(?:\.[\w\-]+)*|"(?:/[^"/]+)+"', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_OPERATORS = "==, !=, contains, in, matches or is empty"
_DEPTH_MAX = 100

_Test: TypeAlias = Callable[[Any], bool]
_Path: TypeAlias = tuple[str, ...]


class FilterError(Exception):
    """The expression is malformed; the text says where."""


class _AbsentError(Exception):
    """The object lacks the selected field, or its value cannot be compared."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # counted from 1


def compiled(source: str) -> Callable[[Any], bool]:
    """The expression as a test of objects.

    Nomad: an object without the selected field never matches, whatever the operator.

    Raises:
        FilterError: the expression is malformed.
    """
    test = _Reader(source).whole()

    def fits(value: Any) -> bool:
        try:
            return test(value)
        except _AbsentError:
            return False

    return fits


def _tokens(source: str) -> list[_Token]:
    tokens = []
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if not found:
            text = "this quote is never closed" if source[at] in '"`' else "this cannot stand here"
            raise FilterError(f"at character {at + 1}: {text}")
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0], at + 1))
        at = found.end()
    return [*tokens, _Token("end", "", len(source) + 1)]


class _Reader:
    """Reads the tokens once, from front to back."""

    def __init__(self, source: str) -> None:
        self.tokens = _tokens(source)
        self.next = 0
        self.depth = 0

    def whole(self) -> _Test:
        test = self.any_of()
        if self.token.kind != "end":
            self.expected("and, or, or the end")
        return test

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def expected(self, what: str) -> NoReturn:
        """Refuse the next token.

        Raises:
            FilterError: always.
        """
        found = self.token.text or "the end"
        raise FilterError(f"at character {self.token.at}: expected {what}, found {found}")

    def took(self, *words: str) -> bool:
        """Consume these words if they are next; True if they were."""
        ahead = self.tokens[self.next : self.next + len(words)]
        if [each.text for each in ahead] != list(words):
            return False
        self.next += len(words)
        return True

    def any_of(self) -> _Test:
        tests = [self.all_of()]
        while self.took("or"):
            tests.append(self.all_of())
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def all_of(self) -> _Test:
        tests = [self.one()]
        while self.took("and"):
            tests.append(self.one())
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def one(self) -> _Test:
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise FilterError(f"at character {self.token.at}: nested more than {_DEPTH_MAX} deep")
        test = self.nested()
        self.depth -= 1
        return test

    def nested(self) -> _Test:
        if self.took("not"):
            return _negated(self.one())
        if self.took("("):
            test = self.any_of()
            if not self.took(")"):
                self.expected(") or and or or")
            return test
        return self.match()

    def match(self) -> _Test:
        """One comparison: selector, operator and value, or value, `in` and selector."""
        first = self.text("a field")
        if self.took("in"):
            return _contains(self.selector(), _unquoted(first))
        if self.took("not", "in"):
            return _negated(_contains(self.selector(), _unquoted(first)))
        path = _path(first)
        if self.took("is", "empty"):
            return _is_empty(path)
        if self.took("is", "not", "empty"):
            return _negated(_is_empty(path))
        return self.comparison(path)

    def comparison(self, path: _Path) -> _Test:
        if self.took("=="):
            return _equals(path, self.value())
        if self.took("!="):
            return _negated(_equals(path, self.value()))
        negated = self.took("not")
        if self.took("contains"):
            test = _contains(path, self.value())
        elif self.took("matches"):
            test = _matches(path, self.pattern())
        else:
            self.expected(_OPERATORS)
        return _negated(test) if negated else test

    def selector(self) -> _Path:
        return _path(self.text("a field"))

    def value(self) -> str:
        return _unquoted(self.text("a value"))

    def text(self, what: str) -> _Token:
        """The next token, which must be a word or a string; `what` names it in the refusal."""
        token = self.token
        if token.kind not in {"word", "string"}:
            self.expected(what)
        self.next += 1
        return token

    def pattern(self) -> re.Pattern[str]:
        at = self.token.at
        try:
            return re.compile(self.value())
        except (re.error, RecursionError, OverflowError) as error:
            raise FilterError(f"at character {at}: not a regular expression: {error}") from error


def _unquoted(token: _Token) -> str:
    if token.kind == "word":
        return token.text
    inner = token.text[1:-1]
    return inner if token.text[0] == "`" else _ESCAPED.sub(r"\1", inner)


def _path(token: _Token) -> _Path:
    """The names of `Meta.team`, or of `"/Meta/team"`, which allows dots in names.

    Raises:
        FilterError: the token is not the name of a field.
    """
    if not _SELECTOR.fullmatch(token.text):
        raise FilterError(
            f"at character {token.at}: {token.text} is not the name of a field: names stand before"
            " the operator, values behind it"
        )
    pointer = token.kind == "string"
    return tuple(token.text[2:-1].split("/") if pointer else token.text.split("."))


def _selected(path: _Path, value: Any) -> Any:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise _AbsentError
        value = value[name]
    return value


def _negated(test: _Test) -> _Test:
    return lambda value: not test(value)


def _equals(path: _Path, wanted: str) -> _Test:
    return lambda value: _same(_selected(path, value), wanted)


def _same(found: Any, wanted: str) -> bool:
    """Whether a text means this value; it is converted to the value's type.

    Raises:
        _AbsentError: the value is none that a text can mean.
    """
    if isinstance(found, bool):
        return wanted == ("true" if found else "false")
    if isinstance(found, int | float):
        return _number(wanted) == found
    if isinstance(found, str):
        return wanted == found
    raise _AbsentError


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?\d{1,30}(\.\d{1,30})?", text, re.ASCII):
        raise _AbsentError
    return float(text) if "." in text else int(text)


def _contains(path: _Path, wanted: str) -> _Test:
    def test(value: Any) -> bool:
        found = _selected(path, value)
        if isinstance(found, str):
            return wanted in found
        if isinstance(found, dict):
            return wanted in found
        return any(_same(each, wanted) for each in _listed(found))

    return test


def _listed(found: Any) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise _AbsentError
    return found


def _matches(path: _Path, pattern: re.Pattern[str]) -> _Test:
    def test(value: Any) -> bool:
        found = _selected(path, value)
        if not isinstance(found, str):
            raise _AbsentError
        return pattern.search(found) is not None

    return test


def _is_empty(path: _Path) -> _Test:
    def test(value: Any) -> bool:
        found = _selected(path, value)
        return not found if isinstance(found, str | dict) else not _listed(found)

    return test
