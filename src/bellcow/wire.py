"""The form of values on the wire: names, JSON and msgpack, and the base of every wire struct.

Durations are in Go's form (`1m30s`); see `gocompat/duration.py`.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from bellcow.gocompat.duration import MAX_NS, Duration

# Words that Nomad writes in capitals; of every other word it capitalizes the first letter.
_CAPITALS = {
    "acl": "ACL",
    "cpu": "CPU",
    "dc": "DC",
    "http": "HTTP",
    "id": "ID",
    "json": "JSON",
    "mb": "MB",
    "mhz": "MHz",
    "rpc": "RPC",
    "ttl": "TTL",
}


def wire_name(field: str) -> str:
    """`accessor_id` -> `AccessorID`: a field's name as Nomad spells it in JSON."""
    return "".join(_CAPITALS.get(word) or word.capitalize() for word in field.split("_"))


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename=wire_name):
    """Base of every value that clients or the store see: frozen, with Nomad's field names.

    Fields are declared in the byte order of their wire names, because they are written in the order
    of their declaration. Structs with another order, where Nomad has one, say so.
    """


UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
UUID_CHARS = 36


def enc_hook(value: object) -> object:
    """Encode the types that msgspec does not know."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def dec_hook(kind: type, value: Any) -> object:
    """Decode the types that msgspec does not know.

    Raises:
        ValueError: the value does not fit its type.
    """
    if kind is Duration:
        return _duration(value)
    raise NotImplementedError(f"cannot decode {kind.__name__}")


def _duration(value: Any) -> Duration:
    """Go's text, or whole nanoseconds that fit 64 bits.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(value, str):
        return Duration.parse(value)
    if type(value) is not int or not -MAX_NS <= value <= MAX_NS:
        raise ValueError("a duration is a text like 1m30s, or whole nanoseconds")
    return Duration(value)


T = TypeVar("T")

# What msgspec raises for data from outside: malformed, of the wrong type, not UTF-8, too deep.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AT_PATH = re.compile(r"`(\$[^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_AT_BYTE = re.compile(r"\(byte (\d+)\)$")


def undecodable(error: Exception) -> str:
    """What is wrong with data that msgspec refused with one of UNDECODABLE, as part of a sentence.

    The library's own texts change between releases, so only the position in the data, if any, is
    taken from them.
    """
    text = str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        path, field = _AT_PATH.search(text), _MISSING.search(text)
        what = f"field {field[1]} is missing" if field else "wrong kind of value"
        return f"{what} at {path[1]}" if path else what
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in text:
        return "not UTF-8"
    if "truncated" in text:
        return "it ends too early"
    byte = _AT_BYTE.search(text)
    return f"malformed at byte {byte[1]}" if byte else "malformed"


_json = msgspec.json.Encoder(enc_hook=enc_hook)
_msgpack = msgspec.msgpack.Encoder(enc_hook=enc_hook)


def to_json(value: object) -> bytes:
    return _json.encode(value)


def to_msgpack(value: object) -> bytes:
    return _msgpack.encode(value)


def msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """A decoder for stored rows. Reuse it: making one is slow."""
    return msgspec.msgpack.Decoder(kind, dec_hook=dec_hook)


def _placeholder(number: int) -> bytes:
    return b'"\\u0000%d"' % number


def pretty(body: bytes, one_line: tuple[bytes, ...] = ()) -> bytes:
    """The same JSON indented by four spaces, with a newline at the end.

    Nomad: values with an encoder of their own stay on one line; `one_line` lists them as written.
    """
    for number, fragment in enumerate(one_line):
        body = body.replace(fragment, _placeholder(number), 1)
    body = msgspec.json.format(body, indent=4) if body[:1] in b"{[" else body
    for number, fragment in enumerate(one_line):
        body = body.replace(_placeholder(number), fragment, 1)
    return body + b"\n"


def join_host_port(address: tuple[str, int]) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
