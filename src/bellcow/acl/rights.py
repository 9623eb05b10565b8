"""What a token may do: rights compiled from the rules of several policies. Pure.

Each route declares the right that it needs; the rights of a token answer.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from bellcow.acl.policy import (
    DENY,
    LICENSE_READ,
    SNAPSHOT_SAVE,
    LevelRule,
    NamedRule,
    OperatorRule,
    Rules,
)
from bellcow.acl.validation import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MEMO_SIZE = 1024  # namespace names come from clients, so the memo must not grow with them
_STRONGEST_FIRST = (DENY, "write", "read", "list")


class Need(enum.Enum):
    """The right that a route needs, apart from rights in a namespace."""

    ANONYMOUS = "anonymous"
    AGENT_READ = "agent:read"
    AGENT_WRITE = "agent:write"
    NODE_READ = "node:read"
    NODE_WRITE = "node:write"
    OPERATOR_READ = "operator:read"
    OPERATOR_WRITE = "operator:write"
    MANAGEMENT = "management"
    SNAPSHOT_SAVE = "snapshot-save"  # management, or the capability
    LICENSE_READ = "license-read"  # operator:read, or the capability

    # Members are single objects; the identity is a faster hash than Enum's, which is one in Python.
    __hash__ = object.__hash__


class Rights(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a token may do. `patterns` are in the order in which they are tried."""

    needs: frozenset[Need]
    management: bool = False
    plugin_list: bool = False
    plugin_read: bool = False
    quota_read: bool = False
    quota_write: bool = False
    exact: dict[str, frozenset[str]] = {}
    patterns: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = ()
    memo: dict[str, frozenset[str]] = {}

    def allows(self, need: Need) -> bool:
        return need in self.needs

    def namespace_allows(self, name: str, capability: str) -> bool:
        """Whether the capability is granted in the namespace of exactly this name.

        A name with `*` is no namespace: a caller that lists several asks for each of them.
        """
        return self.management or capability in self._capabilities(name)

    def any_namespace_right(self, name: str) -> bool:
        return self.management or bool(self._capabilities(name))

    def _capabilities(self, name: str) -> frozenset[str]:
        found = self.memo.get(name)
        if found is None:
            if not NAME.fullmatch(name):
                return frozenset()
            found = self._look_up(name)
            if len(self.memo) >= _MEMO_SIZE:
                self.memo.clear()
            self.memo[name] = found
        return found

    def _look_up(self, name: str) -> frozenset[str]:
        found = self.exact.get(name)
        if found is not None:
            return found
        return next((caps for parts, caps in self.patterns if _matches(parts, name)), frozenset())


MANAGEMENT = Rights(
    needs=frozenset(Need),
    management=True,
    plugin_list=True,
    plugin_read=True,
    quota_read=True,
    quota_write=True,
)
NOTHING = Rights(needs=frozenset({Need.ANONYMOUS}))


def compile_rights(policies: Sequence[Rules]) -> Rights:
    """The sum of several policies: deny beats write beats read beats list, in any order."""
    agent = _level(rules.agent for rules in policies)
    node = _level(rules.node for rules in policies)
    plugin = _level(rules.plugin for rules in policies)
    quota = _level(rules.quota for rules in policies)
    namespaces = _united(rule for rules in policies for rule in rules.namespaces)
    return Rights(
        needs=frozenset(
            {
                Need.ANONYMOUS,
                *_read_write(agent, Need.AGENT_READ, Need.AGENT_WRITE),
                *_read_write(node, Need.NODE_READ, Need.NODE_WRITE),
                *_operator_needs([rules.operator for rules in policies if rules.operator]),
            }
        ),
        plugin_list=plugin in {"list", "read"},
        plugin_read=plugin == "read",
        quota_read=quota in {"read", "write"},
        quota_write=quota == "write",
        exact={name: caps for name, caps in namespaces.items() if "*" not in name},
        patterns=tuple(
            (tuple(name.split("*")), namespaces[name])
            for name in _closest_first(namespaces)
            if "*" in name
        ),
    )


def _level(rules: Iterable[LevelRule | OperatorRule | None]) -> str:
    levels = {rule.policy for rule in rules if rule is not None}
    return next((level for level in _STRONGEST_FIRST if level in levels), "")


def _read_write(level: str, read: Need, write: Need) -> frozenset[Need]:
    if level == "write":
        return frozenset({read, write})
    return frozenset({read}) if level == "read" else frozenset()


def _operator_needs(rules: Sequence[OperatorRule]) -> frozenset[Need]:
    """Write does not imply saving snapshots: an archive holds every secret of the cluster."""
    level = _level(rules)
    if level == DENY:
        return frozenset()
    capabilities = {capability for rule in rules for capability in rule.capabilities}
    needs = set(_read_write(level, Need.OPERATOR_READ, Need.OPERATOR_WRITE))
    if SNAPSHOT_SAVE in capabilities:
        needs.add(Need.SNAPSHOT_SAVE)
    if LICENSE_READ in capabilities or Need.OPERATOR_READ in needs:
        needs.add(Need.LICENSE_READ)
    return frozenset(needs)


def _united(rules: Iterable[NamedRule]) -> dict[str, frozenset[str]]:
    """The capabilities of each name; a denied name stays in the result, with none."""
    united: dict[str, set[str]] = {}
    for rule in rules:
        united.setdefault(rule.name, set()).update(rule.capabilities or ())
    return {
        name: frozenset() if DENY in capabilities else frozenset(capabilities)
        for name, capabilities in united.items()
    }


def _closest_first(names: dict[str, frozenset[str]]) -> list[str]:
    """Names in the order in which patterns are tried: most fixed characters first.

    Of two equal ones the one that grants nothing comes first.
    Nomad: otherwise the last in byte order comes first.
    """
    last_first = sorted(names, reverse=True)
    return sorted(last_first, key=lambda name: (name.count("*") - len(name), bool(names[name])))


def _matches(parts: tuple[str, ...], name: str) -> bool:
    """Whether the name is the parts with any text between them; linear, unlike a regex."""
    first, last = parts[0], parts[-1]
    start, end = len(first), len(name) - len(last)
    if start > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts[1:-1]:
        found = name.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True
