"""The settings that one file sets: typed values, each with its place in the file.

Weak typing and the texts of refusals are those of HCL 1's decoder. Problems are collected, not
raised, so that one run lists them all. It reads no files and merges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bellcow.config import model
from bellcow.config.block import Anything, Block
from bellcow.config.convert import Fault, _string, convert
from bellcow.config.keys import Key, all_keys, keys_of
from bellcow.config.problem import Phase, Problem, quoted
from bellcow.gocompat import hcl

if TYPE_CHECKING:
    from collections.abc import Mapping


# bellcow runs no clients: unknown keys of this block do not stop the start
_WITHOUT_EFFECT = "client"
_FEW = 12  # keys listed in one message at most
_MOST = 20  # unexpected keys of one block that get a line each
_SECRETS = {
    "server.encrypt",
    "acl.replication_token",
    "server.license_env",
    "license.issuers",  # public, but a user may have put the private key here
}


class Written(NamedTuple):
    """The value of a setting, and where it was written."""

    value: Any
    place: str  # `file:line`, or the flag


class Decoded(msgspec.Struct, frozen=True):
    """What one file says. Entries of maps and lists of repeated blocks are merged.

    `unknown` maps undeclared keys, in blocks without effect, to their places.
    """

    values: dict[str, Written]
    problems: list[Problem]
    unknown: dict[str, str] = {}


def decode(body: hcl.Body, file: str, before: str = "") -> Decoded:
    """Decode the nodes of a whole file; `before` is the prefix of Nomad's refusals."""
    out = Decoded({}, [], {})
    _Reader(file, before, out).block(model.Settings, body, ())
    return out


class _Reader(NamedTuple):
    file: str
    before: str
    out: Decoded

    def block(self, kind: type[Block], body: hcl.Body, path: tuple[str, ...]) -> None:
        keys = keys_of(kind, "".join(f"{name}." for name in path))
        seen: dict[str, int] = {}
        unexpected: list[hcl.Item] = []
        for item in body.items:
            name = item.key.lower()
            key = keys.get(name)
            if key is None and path[:1] == (_WITHOUT_EFFECT,):
                self.out.unknown[".".join((*path, name))] = f"{self.file}:{item.line}"
            elif key is None or (name in seen and key.kind not in {"block", "map", "any"}):
                unexpected.append(item)
            else:
                seen.setdefault(name, item.line)
                self.item(key, item, path)
        if unexpected:
            self.unexpected(unexpected, path, keys, seen)

    def unexpected(
        self,
        found: list[hcl.Item],
        path: tuple[str, ...],
        keys: Mapping[str, Key],
        seen: Mapping[str, int],
    ) -> None:
        # Nomad: the innermost block comes first.
        inner_first = ".".join(reversed(path)) + " " if path else ""
        told, more = found[:_MOST], len(found) - _MOST
        names = ", ".join(dict.fromkeys(item.key for item in told))
        if more > 0:
            names += f" and {more} more"
        places = []
        for item in told:
            name = item.key.lower()
            full = ".".join((*path, name))
            if name in seen:
                why = f"{full} is given twice, first on line {seen[name]}; keep one"
            else:
                why = _not_a_setting(path, name, keys)
            places.append(f"{self.file}:{item.line}:{item.column}: {why}")
        self.out.problems.append(
            Problem(
                phase=Phase.LOAD,
                message=f"{self.before}{inner_first}unexpected keys {names}",
                keys=tuple(".".join((*path, item.key.lower())) for item in told),
                places=tuple(places),
            )
        )

    def item(self, key: Key, item: hcl.Item, path: tuple[str, ...]) -> None:
        try:
            if key.kind == "any":
                self.keep(key, item, Anything())
            elif key.kind == "map":
                for found in hcl.blocks(item):
                    self.map(key, item, found.body)
            elif key.block is not None:
                for found in hcl.blocks(item):
                    self.block(key.block, found.body, (*path, key.name))
            else:
                self.value(key, item)
        except hcl.HCLError as error:
            place = f"{self.file}:{error.line}:{error.column}: {error.problem}"
            self.refuse(key, Fault(Phase.LOAD, str(error), ""), place)

    def keep(self, key: Key, item: hcl.Item, value: Any) -> None:
        self.out.values[key.path] = Written(value, f"{self.file}:{item.line}")

    def map(self, key: Key, item: hcl.Item, body: hcl.Body) -> None:
        before = self.out.values.get(key.path)
        entries = dict(before.value) if before else {}
        for entry in body.items:
            result = _string(entry.value, f"{key.path}.{entry.key}")
            if isinstance(result, Fault):
                self.refuse(key, result, self.place_of(key, entry.value, ""))
            else:
                entries[entry.key] = result
        self.keep(key, item, entries)

    def value(self, key: Key, item: hcl.Item) -> None:
        if item.labels:
            raise hcl.HCLError(item.line, item.column, f"{key.path} takes no labels")
        result = convert(key, item.value)
        if isinstance(result, Fault):
            self.refuse(key, result, self.place_of(key, item.value, result.allowed))
        else:
            self.keep(key, item, result)

    def place_of(self, key: Key, node: hcl.Value, allowed: str) -> str:
        tail = f": {allowed}" if allowed else ""
        return f"{self.file}:{node.line}:{node.column}: {key.path} = {shown(key, node)}{tail}"

    def refuse(self, key: Key, fault: Fault, place: str) -> None:
        before = self.before if fault.phase is Phase.LOAD else ""
        self.out.problems.append(
            Problem(
                phase=fault.phase,
                message=before + fault.message,
                keys=(key.path,),
                places=(place,),
            )
        )


def shown(key: Key, value: Any) -> str:
    """A value for a message; secrets are hidden."""
    if key.path in _SECRETS:
        return "(not shown)"
    if isinstance(value, hcl.Scalar):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, hcl.ListNode):
        return "[...]" if value.items else "[]"
    if isinstance(value, hcl.Body):
        return "{...}"
    if isinstance(value, tuple):
        return "[" + ", ".join(quoted(element) for element in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {quoted(v)}" for k, v in value.items()) + "}"
    if value is None:
        return "not set"
    return str(value)


def _not_a_setting(path: tuple[str, ...], name: str, keys: Mapping[str, Key]) -> str:
    """The refusal of an unknown key, with the key that was probably meant or the right block."""
    import difflib

    full = ".".join((*path, name))
    homes = [
        _as_block(key.path)
        for key in all_keys()
        if key.name == name and key.priority != "C" and not key.path.startswith("client.")
    ]
    if homes:
        return f"{full} is not a setting; {name} belongs in {' or '.join(homes[:3])}"
    near = difflib.get_close_matches(name, keys, n=1)
    if near:
        return f'{full} is not a setting; did you mean "{near[0]}"?'
    known = [key.name for key in keys.values() if key.priority != "C"]
    if path and len(known) <= _FEW:
        return f"{full} is not a setting; {'.'.join(path)} has {', '.join(known)}"
    return f"{full} is not a setting"


def _as_block(path: str) -> str:
    """`server.server_join.retry_max` -> `server { server_join { } }`."""
    names = path.split(".")[:-1]
    return "".join(f"{name} {{ " for name in names) + " ".join("}" * len(names)) or "the top level"
