"""Address templates such as `{{ GetPrivateIP }}`: template and interfaces in, text out. Pure.

The functions and their results are those of go-sockaddr, which Nomad uses. Of Go's template
language this is the part that configuration files use: pipes, both kinds of quotes, parentheses,
`with`, `printf`. Source: github.com/hashicorp/go-sockaddr, template/template.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.gocompat.sockaddr_functions import call, shown
from bellcow.gocompat.sockaddr_interfaces import TemplateError, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bellcow.gocompat.sockaddr_networks import Network


def evaluate(template: str, network: Network) -> str:
    """The text that a template evaluates to.

    Raises:
        TemplateError: the template is malformed, or asks for what does not exist.
    """
    try:
        out, rest = _render(_pieces(template), network, network.interfaces)
    except RecursionError:
        raise TemplateError("nested too deeply") from None
    if rest:
        raise TemplateError("unexpected {{end}}")
    return out


_PIECE = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d+)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>[|().]))"
)


_ESCAPES = {"n": "\n", "t": "\t"}


class _Action(NamedTuple):
    """One action, as tokens: kind and text."""

    tokens: tuple[tuple[str, str], ...]

    @property
    def word(self) -> str:
        return self.tokens[0][1] if self.tokens and self.tokens[0][0] == "name" else ""


def _pieces(template: str) -> list[str | _Action]:
    out: list[str | _Action] = []
    at, trim = 0, False
    for found in _PIECE.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trim else text
        out.append(text.rstrip() if found[1] else text)
        out.append(_Action(_tokens(found[2])))
        at, trim = found.end(), bool(found[3])
    out.append(template[at:].lstrip() if trim else template[at:])
    if any(isinstance(piece, str) and "{{" in piece for piece in out):
        raise TemplateError("unclosed action")
    return out


def _tokens(text: str) -> tuple[tuple[str, str], ...]:
    out = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise TemplateError(f"unexpected {quoted(text[at:])} in command")
        out.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tuple(out)


def _render(
    pieces: list[str | _Action], network: Network, dot: Any
) -> tuple[str, list[str | _Action]]:
    """The text up to the end of a block, and the pieces from its `else` or `end` on."""
    out = []
    while pieces:
        piece, *rest = pieces
        if isinstance(piece, str):
            out.append(piece)
            pieces = rest
        elif piece.word in {"end", "else"}:
            return "".join(out), pieces
        elif piece.word == "with":
            text, pieces = _with(piece, rest, network, dot)
            out.append(text)
        else:
            out.append(shown(_whole(piece.tokens, network, dot)))
            pieces = rest
    return "".join(out), []


def _with(
    opening: _Action, pieces: list[str | _Action], network: Network, dot: Any
) -> tuple[str, list[str | _Action]]:
    value = _whole(opening.tokens[1:], network, dot)
    text, pieces = _render(pieces, network, value or dot)
    text = text if value else ""
    if pieces and isinstance(pieces[0], _Action) and pieces[0].word == "else":
        other, pieces = _render(pieces[1:], network, dot)
        text = text if value else other
    if not pieces:
        raise TemplateError("unexpected EOF: with needs an {{end}}")
    return text, pieces[1:]


def _whole(tokens: Sequence[tuple[str, str]], network: Network, dot: Any) -> Any:
    """The value of a whole action.

    Raises:
        TemplateError: a token is left over.
    """
    left = list(tokens)
    value = _pipeline(left, network, dot)
    if left:
        raise TemplateError(f"unexpected {quoted(left[0][1])} in command")
    return value


def _pipeline(tokens: list[tuple[str, str]], network: Network, dot: Any) -> Any:
    """The value of commands joined by pipes; each gets the previous value as its last argument."""
    value = _command(tokens, network, dot, ())
    while tokens and tokens[0] == ("sign", "|"):
        tokens.pop(0)
        value = _command(tokens, network, dot, (value,))
    return value


def _command(
    tokens: list[tuple[str, str]], network: Network, dot: Any, piped: tuple[Any, ...]
) -> Any:
    if not tokens:
        raise TemplateError("missing value for command")
    kind, name = tokens[0]
    if kind != "name":
        if piped:
            raise TemplateError(f"{quoted(name)} is no function, and a pipe leads to it")
        return _operand(tokens, network, dot)
    tokens.pop(0)
    arguments = []
    while tokens and tokens[0] not in {("sign", "|"), ("sign", ")")}:
        arguments.append(_operand(tokens, network, dot))
    return call(name, [*arguments, *piped], network)


def _operand(tokens: list[tuple[str, str]], network: Network, dot: Any) -> Any:
    kind, text = tokens.pop(0)
    if kind == "raw":
        return text[1:-1]
    if kind == "text":
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
    if kind == "number":
        return int(text)
    if kind == "name":
        return call(text, [], network)
    if text == ".":
        return dot
    if text != "(":
        raise TemplateError(f"unexpected {quoted(text)} in command")
    value = _pipeline(tokens, network, dot)
    if not tokens or tokens.pop(0) != ("sign", ")"):
        raise TemplateError("unclosed left paren")
    return value
