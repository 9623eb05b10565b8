"""Expressions of a Go template: the tokens of one action become functions of a scope."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from bellcow.gocompat.quote import go_quote
from bellcow.gocompat.template_values import FUNCTIONS, TemplateError

if TYPE_CHECKING:
    from bellcow.gocompat.template_tokens import Token

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)")
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}


@dataclass(frozen=True)
class Scope:
    """The names of an expression: the dot, and the variables, among them `$`."""

    dot: Any
    variables: dict[str, Any] = field(default_factory=dict)


Value = Callable[[Scope], Any]


class Action:
    """The tokens of one action, compiled in one pass; `position` is that of the next token.

    `go_type` is Go's name of the type of `data`, for the error of an unknown field. A malformed
    expression raises TemplateError.
    """

    def __init__(self, source: str, tokens: tuple[Token, ...], go_type: str, data: Any) -> None:
        self.source = source
        self.tokens = tokens
        self.go_type = go_type
        self.data = data
        self.position = 0

    def whole_pipeline(self) -> Value:
        """A pipeline up to the end of the action."""
        value = self.pipeline()
        if self.position < len(self.tokens):
            self.fail(f"unexpected {go_quote(self.tokens[self.position].text)} in command")
        return value

    def range_variables(self) -> list[str]:
        """The names before `:=` of a `range`: none, that of the element, or index and element."""
        names: list[str] = []
        while self.position < len(self.tokens) and self.tokens[self.position].kind == "variable":
            follows = self.peek(self.position + 1)
            if follows not in {",", ":="}:
                break
            names.append(self.tokens[self.position].text)
            self.position += 2
            if follows == ":=":
                break
        return names

    def pipeline(self) -> Value:
        value = self.command(None)
        while self.peek(self.position) == "|":
            self.position += 1
            value = self.command(value)
        return value

    def command(self, piped: Value | None) -> Value:
        if self.position >= len(self.tokens):
            self.fail("missing value for command")
        head = self.tokens[self.position]
        if head.kind == "word" and head.text not in {"true", "false", "nil"}:
            self.position += 1
            function = FUNCTIONS.get(head.text)
            if function is None:
                self.fail(f"function {go_quote(head.text)} not defined")
            arguments = self.operands()
            return self.call(head, function, [*arguments, piped] if piped else arguments)
        operands = self.operands()
        if len(operands) != 1 or piped:
            self.fail(f"can't give argument to non-function {head.text}")
        return operands[0]

    def call(self, head: Token, function: Callable[..., Any], arguments: list[Value]) -> Value:
        def run(scope: Scope) -> Any:
            try:
                return function(*(argument(scope) for argument in arguments))
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                text = f"error calling {head.text}: {error}"
                raise self.problem(head.at, head.text, text) from error

        return run

    def operands(self) -> list[Value]:
        found: list[Value] = []
        while self.position < len(self.tokens) and self.tokens[self.position].text not in {
            "|",
            ")",
        }:
            found.append(self.operand())
        return found

    def operand(self) -> Value:
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

    def variable(self, token: Token) -> Value:
        def run(scope: Scope) -> Any:
            if token.text not in scope.variables:
                raise TemplateError(f"template: format: undefined variable {go_quote(token.text)}")
            return scope.variables[token.text]

        return run

    def literal(self, token: Token) -> Value:
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

    def chain(self, value: Value, head: Token) -> Value:
        """`value` with the fields that follow it without a space: `.A.B`."""
        fields: list[Token] = []
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

    def walk(self, value: Any, fields: list[Token], at: int, text: str) -> Any:
        for token in fields:
            name = token.text[1:]
            if not isinstance(value, dict) or name not in value:
                known = self.go_type and value is self.data
                of = f" in type {self.go_type}" if known else ""
                raise self.problem(at, text, f"can't evaluate field {name}{of}")
            value = value[name]
        return value

    def peek(self, position: int) -> str:
        return self.tokens[position].text if position < len(self.tokens) else ""

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


def _unescape(found: re.Match[str]) -> str:
    body = found[1]
    if body[0] in "ux" and len(body) > 1:
        return chr(int(body[1:], 16))
    return _PLAIN_ESCAPES.get(body, found[0])
