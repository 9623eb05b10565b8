"""A Go template cut into plain text and actions, and each action into tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bellcow.gocompat.quote import go_quote
from bellcow.gocompat.template_values import TemplateError

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


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Piece:
    """A stretch of plain text, or one action with its tokens."""

    text: str = ""
    tokens: tuple[Token, ...] = ()
    is_action: bool = False
    at: int = 0


def split_template(source: str) -> list[Piece]:
    """The pieces in order.

    Raises:
        TemplateError: an action is not closed, or holds a malformed token.
    """
    pieces: list[Piece] = []
    at = 0
    trim = False
    for found in _ACTION.finditer(source):
        text = source[at : found.start()]
        text = text.lstrip() if trim else text
        pieces.append(Piece(text.rstrip() if found[1] else text))
        body, start = found[2], found.start(2)
        if not body.strip().startswith("/*"):
            tokens = _tokens(source, body, start)
            pieces.append(Piece(tokens=tokens, is_action=True, at=start))
        trim = found[3] is not None
        at = found.end()
    rest = source[at:]
    if "{{" in rest:
        raise TemplateError(f"template: format:{source.count(chr(10)) + 1}: unclosed action")
    pieces.append(Piece(rest.lstrip() if trim else rest))
    return pieces


def _tokens(source: str, body: str, start: int) -> tuple[Token, ...]:
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
            tokens.append(Token(str(found.lastgroup), found[0], start + at))
        at = found.end()
    return tuple(tokens)
