"""The part of Go's text/template that `-t` needs, over decoded JSON.

Text, fields, variables, pipelines, `range`, `if`, `with`, `else`, trim marks, comments, and a
handful of functions. A template becomes nested functions once and is then run; it can call
nothing but what stands in `_FUNCTIONS`, and its output is bounded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from bellcow.gocompat.quote import go_quote

_ACTION = re.compile(r"\{\{(- (?=\s*)|-(?=\s))?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<number>[+-]?\d+(?:\.\d+)?)
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)")
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}
_VERB = re.compile(r"%([-+0# ]*\d*(?:\.\d+)?)([vsdqtfx%])")
_OUTPUT_MAX = 16 << 20
_NO_VALUE = "<no value>"


class TemplateError(Exception):
    """The template cannot be read, or does not fit the data; the text is Go's."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class _Scope:
    dot: Any
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Piece:
    """A stretch of plain text, or one action with its tokens."""

    text: str = ""
    tokens: tuple[_Token, ...] = ()
    is_action: bool = False
    at: int = 0


_Value = Callable[[_Scope], Any]
_Part = Callable[[_Scope], str]


def render(source: str, data: Any, go_type: str = "") -> str:
    """The text that the template makes of `data`; `go_type` is the type of `data`."""
    try:
        text = _Parser(source, go_type, data).whole()(_Scope(data, {"$": data}))
    except RecursionError as error:
        raise TemplateError("template: format: too deeply nested") from error
    return text


def _pieces(source: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    at = 0
    trim = False
    for found in _ACTION.finditer(source):
        text = source[at : found.start()]
        text = text.lstrip() if trim else text
        pieces.append(_Piece(text.rstrip() if found[1] else text))
        body, start = found[2], found.start(2)
        if not body.strip().startswith("/*"):
            tokens = _tokens(source, body, start)
            pieces.append(_Piece(tokens=tokens, is_action=True, at=start))
        trim = found[3] is not None
        at = found.end()
    rest = source[at:]
    if "{{" in rest:
        raise TemplateError(f"template: format:{source.count(chr(10)) + 1}: unclosed action")
    pieces.append(_Piece(rest.lstrip() if trim else rest))
    return pieces


def _tokens(source: str, body: str, start: int) -> tuple[_Token, ...]:
    tokens = []
    at = 0
    while at < len(body):
        found = _TOKEN.match(body, at)
        if not found:
            line = source[: start + at].count("\n") + 1
            raise TemplateError(
                f"template: format:{line}: unexpected {go_quote(body[at])} in command"
            )
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0], start + at))
        at = found.end()
    return tuple(tokens)


class _Parser:
    """Reads the pieces once, from front to back; what it returns are functions of a scope."""

    def __init__(self, source: str, go_type: str, data: Any) -> None:
        self.source = source
        self.go_type = go_type
        self.data = data
        self.pieces = _pieces(source)
        self.next = 0
        self.tokens: tuple[_Token, ...] = ()
        self.position = 0

    def whole(self) -> _Part:
        part, ending = self.block()
        if ending:
            self.fail(f"unexpected {{{{{ending}}}}}")
        return part

    # Actions

    def block(self) -> tuple[_Part, str]:
        """The parts up to `end`, `else` or the end of the template, and which of them it was."""
        parts: list[_Part] = []
        while self.next < len(self.pieces):
            piece = self.pieces[self.next]
            self.next += 1
            if not piece.is_action:
                parts.append(_constant(piece.text))
                continue
            self.tokens, self.position = piece.tokens, 0
            word = piece.tokens[0].text if piece.tokens else self.fail("missing value for command")
            if word in {"end", "else"}:
                self.position = 1
                return _joined(parts), word
            parts.append(self.action(word))
        return _joined(parts), ""

    def action(self, word: str) -> _Part:
        if word in {"if", "with", "range"}:
            self.position = 1
            return self.range_() if word == "range" else self.branch(word)
        if self.tokens[0].kind == "variable" and self.peek(1) in {":=", "="}:
            name, self.position = self.tokens[0].text, 2
            value = self.pipeline()
            self.finished()
            return _assign(name, value)
        value = self.pipeline()
        self.finished()
        return lambda scope: show(value(scope))

    def branch(self, word: str) -> _Part:
        condition = self.pipeline()
        self.finished()
        then, otherwise = self.arms(word)

        def run(scope: _Scope) -> str:
            value = condition(scope)
            if not _truth(value):
                return otherwise(scope)
            return then(replace(scope, dot=value) if word == "with" else scope)

        return run

    def range_(self) -> _Part:
        names: list[str] = []
        while self.position < len(self.tokens) and self.tokens[self.position].kind == "variable":
            follows = self.peek(self.position + 1)
            if follows not in {",", ":="}:
                break
            names.append(self.tokens[self.position].text)
            self.position += 2
            if follows == ":=":
                break
        source = self.pipeline()
        self.finished()
        body, otherwise = self.arms("range")

        def run(scope: _Scope) -> str:
            entries = _entries(source(scope))
            if not entries:
                return otherwise(scope)
            out = []
            total = 0
            for key, value in entries:
                bound = dict(
                    zip(names[-2:], (key, value) if len(names) > 1 else (value,), strict=False)
                )
                out.append(body(_Scope(value, {**scope.variables, **bound})))
                total += len(out[-1])
                if total > _OUTPUT_MAX:
                    raise TemplateError("template: format: the output is larger than 16 MiB")
            return "".join(out)

        return run

    def arms(self, word: str) -> tuple[_Part, _Part]:
        """The two arms of a block; `else if` opens a block inside the second."""
        first, ending = self.block()
        second = _constant("")
        if ending == "else":
            if self.position < len(self.tokens):
                inner = self.tokens[self.position].text
                if inner not in {"if", "with"}:
                    self.fail(f"unexpected {go_quote(inner)} in else clause")
                self.position += 1
                return first, self.branch(inner)
            second, ending = self.block()
        if ending != "end":
            self.fail(f"unexpected EOF in {word}")
        return first, second

    # Expressions

    def pipeline(self) -> _Value:
        value = self.command(None)
        while self.peek(self.position) == "|":
            self.position += 1
            value = self.command(value)
        return value

    def command(self, piped: _Value | None) -> _Value:
        if self.position >= len(self.tokens):
            self.fail("missing value for command")
        head = self.tokens[self.position]
        if head.kind == "word" and head.text not in {"true", "false", "nil"}:
            self.position += 1
            function = _FUNCTIONS.get(head.text)
            if function is None:
                self.fail(f"function {go_quote(head.text)} not defined")
            arguments = self.operands()
            return self.call(head, function, [*arguments, piped] if piped else arguments)
        operands = self.operands()
        if len(operands) != 1 or piped:
            self.fail(f"can't give argument to non-function {head.text}")
        return operands[0]

    def call(self, head: _Token, function: Callable[..., Any], arguments: list[_Value]) -> _Value:
        def run(scope: _Scope) -> Any:
            try:
                return function(*(argument(scope) for argument in arguments))
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                text = f"error calling {head.text}: {error}"
                raise self.problem(head.at, head.text, text) from error

        return run

    def operands(self) -> list[_Value]:
        found: list[_Value] = []
        while self.position < len(self.tokens) and self.tokens[self.position].text not in {
            "|",
            ")",
        }:
            found.append(self.operand())
        return found

    def operand(self) -> _Value:
        token = self.tokens[self.position]
        if token.kind == "field":
            return self.chain(lambda scope: scope.dot, token)
        self.position += 1
        if token.text == "(":
            value = self.pipeline()
            if self.peek(self.position) != ")":
                self.fail("unclosed left paren")
            self.position += 1
        elif token.kind == "dot":
            return lambda scope: scope.dot
        elif token.kind == "variable":
            value = self.variable(token)
        else:
            value = self.literal(token)
        return self.chain(value, token)

    def variable(self, token: _Token) -> _Value:
        def run(scope: _Scope) -> Any:
            if token.text not in scope.variables:
                raise TemplateError(f"template: format: undefined variable {go_quote(token.text)}")
            return scope.variables[token.text]

        return run

    def literal(self, token: _Token) -> _Value:
        constants = {"true": True, "false": False, "nil": None}
        value: Any = None
        if token.kind == "string":
            raw = token.text[1:-1]
            value = raw if token.text[0] == "`" else _ESCAPE.sub(_unescape, raw)
        elif token.kind == "number":
            value = float(token.text) if "." in token.text else int(token.text)
        elif token.text in constants:
            value = constants[token.text]
        else:
            self.fail(f"unexpected {go_quote(token.text)} in operand")
        return lambda _scope: value

    def chain(self, value: _Value, head: _Token) -> _Value:
        """The fields that follow `value` without a space: `.A.B`."""
        fields: list[_Token] = []
        last = self.tokens[self.position - 1]
        end = head.at if head.kind == "field" else last.at + len(last.text)
        while self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind != "field" or token.at != end:
                break
            fields.append(token)
            end = token.at + len(token.text)
            self.position += 1
        if not fields:
            return value
        text = ("" if head.kind == "field" else head.text) + "".join(one.text for one in fields)
        at = fields[min(1, len(fields) - 1)].at
        return lambda scope: self.walk(value(scope), fields, at, text)

    def walk(self, value: Any, fields: list[_Token], at: int, text: str) -> Any:
        for token in fields:
            name = token.text[1:]
            if not isinstance(value, dict) or name not in value:
                known = self.go_type and value is self.data
                of = f" in type {self.go_type}" if known else ""
                raise self.problem(at, text, f"can't evaluate field {name}{of}")
            value = value[name]
        return value

    # Helpers

    def peek(self, position: int) -> str:
        return self.tokens[position].text if position < len(self.tokens) else ""

    def finished(self) -> None:
        if self.position < len(self.tokens):
            self.fail(f"unexpected {go_quote(self.tokens[self.position].text)} in command")

    def fail(self, text: str) -> NoReturn:
        at = self.tokens[0].at if self.tokens else 0
        raise TemplateError(f"template: format:{self.source[:at].count(chr(10)) + 1}: {text}")

    def problem(self, at: int, context: str, text: str) -> TemplateError:
        before = self.source[:at]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode())
        return TemplateError(
            f'template: format:{line}:{column}: executing "format" at <{context}>: {text}'
        )


def _constant(text: str) -> _Part:
    return lambda _scope: text


def _joined(parts: list[_Part]) -> _Part:
    def run(scope: _Scope) -> str:
        # A block's variables end with it; those it changes outside are not needed here.
        inner = replace(scope, variables=dict(scope.variables))
        return "".join(part(inner) for part in parts)

    return run


def _assign(name: str, value: _Value) -> _Part:
    def run(scope: _Scope) -> str:
        scope.variables[name] = value(scope)
        return ""

    return run


def _unescape(found: re.Match[str]) -> str:
    body = found[1]
    if body[0] in "ux" and len(body) > 1:
        return chr(int(body[1:], 16))
    return _PLAIN_ESCAPES.get(body, found[0])


def _truth(value: Any) -> bool:
    return bool(value)


def _entries(value: Any) -> list[tuple[Any, Any]]:
    """What `range` goes over: positions and elements of a list, keys and values of an object."""
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, 1_000_000))]
    if value is None:
        return []
    raise TemplateError(f"template: format: range can't iterate over {show(value)}")


def show(value: Any) -> str:
    """A value as Go prints it with `%v`."""
    if value is None:
        return _NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(one)}" for key, one in sorted(value.items())) + "]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError(f"index out of range: {show(key)}")
    return value


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, verb = found[1], found[2]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        if any(len(digits) > 4 for digits in re.findall(r"\d+", flags)):
            raise ValueError("width or precision too large")
        if verb in "dxf":
            return str(f"%{flags}{verb}" % value)
        return f"%{flags}s" % (go_quote(show(value)) if verb == "q" else show(value))

    return _VERB.sub(one, form)


def _json(value: Any) -> str:
    import msgspec

    text: str = msgspec.json.encode(value, order="sorted").decode()
    return text


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _and(*values: Any) -> Any:
    return next((value for value in values if not _truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if _truth(value)), values[-1])


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "index": _index,
    "len": len,
    "printf": _printf,
    "print": lambda *values: "".join(map(show, values)),
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "eq": _equal,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": _and,
    "or": _or,
    "not": lambda value: not _truth(value),
    "json": _json,
}
