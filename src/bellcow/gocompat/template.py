"""The part of Go's text/template that `-t` needs, over decoded JSON.

Text, fields, variables, pipelines, `range`, `if`, `with`, `else`, trim marks, comments, and a few
functions. A template is compiled to nested functions; it can call `FUNCTIONS` only, and its output
is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bellcow.gocompat.quote import go_quote
from bellcow.gocompat.template_expressions import Action, Scope
from bellcow.gocompat.template_tokens import split_template
from bellcow.gocompat.template_values import TemplateError, range_entries, show, truth

if TYPE_CHECKING:
    from bellcow.gocompat.template_expressions import Value
    from bellcow.gocompat.template_tokens import Token

_OUTPUT_MAX = 16 << 20

_Part = Callable[[Scope], str]


def render(source: str, data: Any, go_type: str = "") -> str:
    """The output of the template for `data`.

    `go_type` is Go's name of the type of `data`, for the error of an unknown field.

    Raises:
        TemplateError: the template is malformed, fails for `data`, or its output is too large.
    """
    try:
        text = _Parser(source, go_type, data).whole()(Scope(data, {"$": data}))
    except RecursionError as error:
        raise TemplateError("template: format: too deeply nested") from error
    return text


class _Parser:
    """Compiles the pieces, in one pass, to functions of a scope."""

    def __init__(self, source: str, go_type: str, data: Any) -> None:
        self.source = source
        self.go_type = go_type
        self.data = data
        self.pieces = split_template(source)
        self.next = 0
        self.current = self.read(())

    def whole(self) -> _Part:
        part, ending = self.block()
        if ending:
            self.current.fail(f"unexpected {{{{{ending}}}}}")
        return part

    def read(self, tokens: tuple[Token, ...]) -> Action:
        return Action(self.source, tokens, self.go_type, self.data)

    def block(self) -> tuple[_Part, str]:
        """The parts up to `end`, `else` or the end of the template, and that word."""
        parts: list[_Part] = []
        while self.next < len(self.pieces):
            piece = self.pieces[self.next]
            self.next += 1
            if not piece.is_action:
                parts.append(_constant(piece.text))
                continue
            self.current = self.read(piece.tokens)
            if not piece.tokens:
                self.current.fail("missing value for command")
            word = piece.tokens[0].text
            if word in {"end", "else"}:
                self.current.position = 1
                return _joined(parts), word
            parts.append(self.action(self.current, word))
        return _joined(parts), ""

    def action(self, action: Action, word: str) -> _Part:
        if word in {"if", "with", "range"}:
            action.position = 1
            return self.range_(action) if word == "range" else self.branch(action, word)
        if action.tokens[0].kind == "variable" and action.peek(1) in {":=", "="}:
            action.position = 2
            return _assign(word, action.whole_pipeline())
        value = action.whole_pipeline()
        return lambda scope: show(value(scope))

    def branch(self, action: Action, word: str) -> _Part:
        condition = action.whole_pipeline()
        then, otherwise = self.arms(word)

        def run(scope: Scope) -> str:
            value = condition(scope)
            if not truth(value):
                return otherwise(scope)
            return then(replace(scope, dot=value) if word == "with" else scope)

        return run

    def range_(self, action: Action) -> _Part:
        names = action.range_variables()
        source = action.whole_pipeline()
        body, otherwise = self.arms("range")

        def run(scope: Scope) -> str:
            entries = range_entries(source(scope))
            if not entries:
                return otherwise(scope)
            out = []
            total = 0
            for key, value in entries:
                bound = dict(
                    zip(names[-2:], (key, value) if len(names) > 1 else (value,), strict=False)
                )
                out.append(body(Scope(value, {**scope.variables, **bound})))
                total += len(out[-1])
                if total > _OUTPUT_MAX:
                    raise TemplateError("template: format: the output is larger than 16 MiB")
            return "".join(out)

        return run

    def arms(self, word: str) -> tuple[_Part, _Part]:
        """Both arms of a block; `else if` is a block inside the second."""
        first, ending = self.block()
        second = _constant("")
        if ending == "else":
            inner = self.current.peek(1)
            if inner:
                if inner not in {"if", "with"}:
                    self.current.fail(f"unexpected {go_quote(inner)} in else clause")
                self.current.position = 2
                return first, self.branch(self.current, inner)
            second, ending = self.block()
        if ending != "end":
            self.current.fail(f"unexpected EOF in {word}")
        return first, second


def _constant(text: str) -> _Part:
    return lambda _scope: text


def _joined(parts: list[_Part]) -> _Part:
    def run(scope: Scope) -> str:
        # Variables are local to their block. Go also keeps assignments to outer ones: not
        # supported.
        inner = replace(scope, variables=dict(scope.variables))
        return "".join(part(inner) for part in parts)

    return run


def _assign(name: str, value: Value) -> _Part:
    def run(scope: Scope) -> str:
        scope.variables[name] = value(scope)
        return ""

    return run
