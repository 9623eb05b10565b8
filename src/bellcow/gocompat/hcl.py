"""The HCL 1 reader: text in, a tree of nodes with positions out.

It reads the agent's files and ACL policies, so its input is untrusted: the time is linear, size and
depth are limited. It reads JSON of the same shape too, and interprets no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bellcow.gocompat.hcl_tokens import HCLError, Token, Tokens, kind_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Block", "Body", "HCLError", "Item", "ListNode", "Scalar", "Value", "blocks", "parse"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 100
_MAX_SHOWN = 200


class Scalar(msgspec.Struct, frozen=True):
    """A string, a number or a boolean; `text` is how a number or a boolean was written."""

    value: str | int | float | bool
    line: int
    column: int
    text: str = ""


class ListNode(msgspec.Struct, frozen=True):
    """`[a, b]`."""

    items: tuple[Value, ...]
    line: int
    column: int


class Body(msgspec.Struct, frozen=True):
    """The items between two braces, or of the whole text."""

    items: tuple[Item, ...]
    line: int
    column: int


class Item(msgspec.Struct, frozen=True):
    """`key = value`, `key { ... }` or `key "label" { ... }`; the position is the key's."""

    key: str
    labels: tuple[str, ...]
    value: Value
    line: int
    column: int


Value = Scalar | ListNode | Body


class Block(NamedTuple):
    """One block, from any of the ways to write it."""

    labels: tuple[str, ...]
    body: Body
    line: int
    column: int


def parse(text: str) -> Body:
    """Read HCL 1, or JSON when the first character is a brace.

    Raises:
        HCLError: the text is malformed or too large; it has line and column.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise HCLError(1, 1, f"the text is larger than {MAX_BYTES} bytes")
    text = text.replace("\r\n", "\n")
    if text.lstrip(" \t\r\n").startswith("{"):
        return _parse_json(Tokens(text, json=True))
    return Body(_items(Tokens(text), depth=0), 1, 1)


def blocks(item: Item, labels: int = 0) -> Iterator[Block]:
    """The blocks of an item, each with the wanted number of labels.

    Labels are words before the brace or, in JSON, keys of nested objects; a list of objects is that
    many blocks.

    Raises:
        HCLError: the item is not a block.
    """
    yield from _unfold(item.labels, item.value, labels, item)


def _unfold(found: tuple[str, ...], value: Value, labels: int, at: Item) -> Iterator[Block]:
    if isinstance(value, ListNode):
        for element in value.items:
            yield from _unfold(found, element, labels, at)
    elif not isinstance(value, Body):
        raise HCLError(value.line, value.column, f"{at.key} must be a block, not a single value")
    elif len(found) > labels:
        raise HCLError(at.line, at.column, f"{at.key} takes {labels} labels, got {len(found)}")
    elif len(found) == labels:
        yield Block(found, value, at.line, at.column)
    else:
        for item in value.items:
            yield from _unfold((*found, item.key, *item.labels), item.value, labels, item)


def _at(token: Token, problem: str) -> HCLError:
    return HCLError(token.line, token.column, problem)


def _deeper(depth: int, at: Token) -> int:
    if depth >= MAX_DEPTH:
        raise _at(at, f"nested deeper than {MAX_DEPTH} levels")
    return depth + 1


def _items(tokens: Tokens, depth: int) -> tuple[Item, ...]:
    """Items up to the end of the text or, inside a block, up to its closing brace."""
    out: list[Item] = []
    while True:
        token = tokens.peek()
        if token.kind == "EOF" or (token.kind == "RBRACE" and depth):
            return tuple(out)
        out.append(_item(tokens, depth))
        if tokens.peek().kind == "COMMA":
            tokens.next()


def _item(tokens: Tokens, depth: int) -> Item:
    keys: list[Token] = []
    while (token := tokens.next()).kind in {"IDENT", "STRING"}:
        keys.append(token)
    if not keys:
        if token.kind == "ASSIGN":
            raise _at(token, "no object keys found!")
        wanted = "IDENT | STRING" if token.kind == "LBRACE" else "IDENT | STRING | ASSIGN | LBRACE"
        raise _at(token, f"expected: {wanted} got: {kind_name(token)}")
    value: Value
    if token.kind == "ASSIGN" and len(keys) == 1:
        value = _value(tokens, tokens.next(), depth)
    elif token.kind == "ASSIGN":
        raise _at(token, "nested object expected: LBRACE got: ASSIGN")
    elif token.kind == "LBRACE":
        value = _body(tokens, token, depth)
    elif token.kind in {"EOF", "RBRACE"}:
        words = _cut(" ".join(key.text for key in keys))
        raise _at(token, f"key '{words}' expected start of object ('{{') or assignment ('=')")
    else:
        raise _at(token, f"expected: IDENT | STRING | ASSIGN | LBRACE got: {kind_name(token)}")
    first = keys[0]
    labels = tuple(str(key.value) for key in keys[1:])
    return Item(str(first.value), labels, value, first.line, first.column)


def _cut(text: str) -> str:
    """Untrusted text, cut for a message."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _value(tokens: Tokens, token: Token, depth: int) -> Value:
    if token.kind in {"NUMBER", "FLOAT", "BOOL", "STRING", "HEREDOC"}:
        return _scalar(token)
    if token.kind == "LBRACE":
        return _body(tokens, token, depth)
    if token.kind == "LBRACK":
        return _list(tokens, token, depth)
    raise _at(
        token, f"Unknown token: {token.line}:{token.column} {kind_name(token)} {_cut(token.text)}"
    )


def _scalar(token: Token) -> Scalar:
    text = "" if isinstance(token.value, str) else token.text
    return Scalar(token.value, token.line, token.column, text)


def _body(tokens: Tokens, opening: Token, depth: int) -> Body:
    items = _items(tokens, _deeper(depth, opening))
    closing = tokens.next()
    if closing.kind == "EOF":
        # Nomad: the end is read twice, and the position in the message counts both
        closing = tokens.next()
    if closing.kind != "RBRACE":
        raise _at(closing, f"object expected closing RBRACE got: {kind_name(closing)}")
    return Body(items, opening.line, opening.column)


def _list(tokens: Tokens, opening: Token, depth: int) -> ListNode:
    depth = _deeper(depth, opening)
    items: list[Value] = []
    need_comma = False
    while (token := tokens.next()).kind != "RBRACK":
        if token.kind == "COMMA":
            need_comma = False
        elif need_comma:
            bad = f"error parsing list, expected comma or list end, got: {kind_name(token)}"
            raise _at(token, bad)
        elif token.kind in {"NUMBER", "FLOAT", "BOOL", "STRING", "HEREDOC", "LBRACE", "LBRACK"}:
            items.append(_value(tokens, token, depth))
            need_comma = True
        else:
            raise _at(token, f"unexpected token while parsing list: {kind_name(token)}")
    return ListNode(tuple(items), opening.line, opening.column)


def _parse_json(tokens: Tokens) -> Body:
    body = _json_body(tokens, tokens.next(), 0)
    rest = tokens.next()
    if rest.kind != "EOF":
        raise _at(rest, f"unexpected {kind_name(rest)} after the JSON object")
    return body


def _json_body(tokens: Tokens, opening: Token, depth: int) -> Body:
    depth = _deeper(depth, opening)
    items = []
    key = _expect(tokens, "STRING", "RBRACE")
    while key.kind == "STRING":
        _expect(tokens, "COLON")
        value = _json_value(tokens, depth)
        if value is not None:
            items.append(Item(str(key.value), (), value, key.line, key.column))
        if _expect(tokens, "COMMA", "RBRACE").kind == "RBRACE":
            break
        key = _expect(tokens, "STRING", "RBRACE")  # Nomad: the last comma may be one too many
    return Body(tuple(items), opening.line, opening.column)


def _json_value(tokens: Tokens, depth: int) -> Value | None:
    """The next value; None for `null`, which counts as not written.

    Raises:
        HCLError: the next token begins no value.
    """  # noqa: DOC501  made by `_at`
    token = tokens.next()
    if token.kind in {"NUMBER", "FLOAT", "BOOL", "STRING"}:
        return _scalar(token)
    if token.kind == "LBRACE":
        return _json_body(tokens, token, depth)
    if token.kind == "LBRACK":
        return _json_list(tokens, token, depth)
    if token.text == "null":
        return None
    raise _at(token, f"expected a JSON value, got: {kind_name(token)}")


def _json_list(tokens: Tokens, opening: Token, depth: int) -> ListNode:
    depth = _deeper(depth, opening)
    items = []
    while tokens.peek().kind != "RBRACK":
        value = _json_value(tokens, depth)
        if value is not None:
            items.append(value)
        if _expect(tokens, "COMMA", "RBRACK").kind == "RBRACK":
            break
    else:
        tokens.next()  # Nomad: the last comma may be one too many
    return ListNode(tuple(items), opening.line, opening.column)


def _expect(tokens: Tokens, *kinds: str) -> Token:
    token = tokens.next()
    if token.kind not in kinds:
        raise _at(token, f"expected: {' | '.join(kinds)} got: {kind_name(token)}")
    return token
