"""The settings by path, such as `server.enabled`: what is declared of a key, and its value."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any, NamedTuple

import msgspec

from bellcow.config.block import Anything, Block, Strings
from bellcow.config.model import Settings
from bellcow.gocompat.duration import Duration


class Key(NamedTuple):
    """One key of a block, as its declaration describes it."""

    path: str
    name: str
    kind: str  # string, number, float, bool, duration, list, map, block or any
    block: type[Block] | None
    default: Any
    priority: str
    help: str


_KINDS: dict[Any, str] = {
    str: "string",
    int: "number",
    int | None: "number",
    float: "float",
    bool: "bool",
    Duration: "duration",
    Strings: "list",
    dict[str, str]: "map",
    Anything: "any",
}


@functools.cache
def keys_of(block: type[Block], prefix: str = "") -> types.MappingProxyType[str, Key]:
    """The keys of a block by name; `prefix` is the path of the block with a dot at its end."""
    hints = typing.get_type_hints(block, include_extras=True)
    out = {}
    for field in msgspec.structs.fields(block):
        kind, meta = typing.get_args(hints[field.name])
        default = {} if field.default is msgspec.NODEFAULT else field.default
        out[field.name] = Key(
            path=prefix + field.name,
            name=field.name,
            kind=_KINDS.get(kind, "block"),
            block=None if kind in _KINDS else kind,
            default=default,
            priority=meta.extra["priority"],
            help=meta.description,
        )
    return types.MappingProxyType(out)


@functools.cache
def all_keys(block: type[Block] = Settings, prefix: str = "") -> tuple[Key, ...]:
    """Every key below a block, in the order of the documentation, a block before its keys."""
    out: list[Key] = []
    for key in keys_of(block, prefix).values():
        out.append(key)
        if key.block is not None:
            out.extend(all_keys(key.block, f"{key.path}."))
    return tuple(out)


def get_value(settings: Settings, path: str) -> Any:
    """The value at a path such as `server.enabled`."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def put_value(settings: Settings, path: str, value: Any) -> Settings:
    """The settings with one value changed."""
    return typing.cast("Settings", _put(settings, path.split("."), value))


def _put(block: Any, names: list[str], value: Any) -> Any:
    name, *rest = names
    new = _put(getattr(block, name), rest, value) if rest else value
    return msgspec.structs.replace(block, **{name: new})
