"""The policy language: parses rules into structs and checks them.

Pure: it knows no requests, secrets, tables or time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from bellcow.errors import invalid
from bellcow.gocompat import hcl
from bellcow.gocompat.quote import go_quote
from bellcow.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


DENY = "deny"
SNAPSHOT_SAVE = "snapshot-save"
LICENSE_READ = "license-read"

BLOCKS = ("agent", "host_volume", "namespace", "node", "operator", "plugin", "quota")

_PATTERN = re.compile(r"[a-zA-Z0-9*-]{1,128}")

_LEVELS = frozenset({DENY, "read", "write", "scale"})
_PLUGIN_LEVELS = frozenset({DENY, "read", "list"})

_NAMESPACE_READ = (
    "list-jobs",
    "parse-job",
    "read-job",
    "csi-list-volume",
    "csi-read-volume",
    "read-job-scaling",
    "list-scaling-policies",
    "read-scaling-policy",
)
_NAMESPACE_WRITE = (
    *_NAMESPACE_READ,
    "scale-job",
    "submit-job",
    "dispatch-job",
    "read-logs",
    "read-fs",
    "alloc-exec",
    "alloc-lifecycle",
    "csi-mount-volume",
    "csi-write-volume",
    "submit-recommendation",
)
_NAMESPACE_SHORT_HANDS = {
    DENY: (DENY,),
    "read": _NAMESPACE_READ,
    "write": _NAMESPACE_WRITE,
    "scale": ("list-scaling-policies", "read-scaling-policy", "read-job-scaling", "scale-job"),
}
_NAMESPACE_CAPABILITIES = frozenset(
    {DENY, "alloc-node-exec", "csi-register-plugin", "sentinel-override", *_NAMESPACE_WRITE}
)
_VOLUME_SHORT_HANDS = {
    DENY: (DENY,),
    "read": ("mount-readonly",),
    "write": ("mount-readonly", "mount-readwrite"),
    "scale": (),
}
_VOLUME_CAPABILITIES = frozenset({DENY, "mount-readonly", "mount-readwrite"})
_OPERATOR_CAPABILITIES = frozenset({SNAPSHOT_SAVE, LICENSE_READ})


class LevelRule(Wire, frozen=True, kw_only=True):
    """A block with a level only, such as `agent { policy = "read" }`."""

    policy: str


class OperatorRule(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """The operator block. Nomad: `Capabilities` is unknown to it, so an empty one is not sent."""

    capabilities: tuple[str, ...] = ()
    policy: str


class NamedRule(Wire, frozen=True, kw_only=True):
    """A namespace or host volume block: the listed capabilities, then those of its level."""

    capabilities: tuple[str, ...] | None
    name: str
    policy: str


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one policy, checked, with levels expanded to capabilities."""

    agent: LevelRule | None = None
    host_volumes: tuple[NamedRule, ...] = ()
    namespaces: tuple[NamedRule, ...] = ()
    node: LevelRule | None = None
    operator: OperatorRule | None = None
    plugin: LevelRule | None = None
    quota: LevelRule | None = None
    raw: str = ""


class RulesJSON(Wire, frozen=True, kw_only=True):
    """The field `RulesJSON` of a policy: a missing block is null."""

    agent: LevelRule | None
    host_volumes: tuple[NamedRule, ...] | None
    namespaces: tuple[NamedRule, ...] | None
    node: LevelRule | None
    operator: OperatorRule | None
    plugin: LevelRule | None
    quota: LevelRule | None
    raw: str


DENY_ALL = Rules(
    agent=LevelRule(policy=DENY),
    host_volumes=(NamedRule(capabilities=(DENY,), name="*", policy=DENY),),
    namespaces=(NamedRule(capabilities=(DENY,), name="*", policy=DENY),),
    node=LevelRule(policy=DENY),
    operator=OperatorRule(policy=DENY),
    plugin=LevelRule(policy=DENY),
    quota=LevelRule(policy=DENY),
)


# Adding up


# Reading


def parse_rules(rules: str) -> Rules:
    """Parse and check a policy's rules.

    Raises:
        invalid: the rules are malformed or wrong; the text is Nomad's.
    """
    if not rules:
        return Rules()
    try:
        found = _read(rules)
    except hcl.HCLError as problem:
        raise invalid(f"Failed to parse ACL Policy: {problem}") from None
    if found == Rules(raw=rules):
        raise invalid(f"Invalid policy: {rules}")
    _check(found)
    return msgspec.structs.replace(
        found,
        namespaces=tuple(_expanded(rule, _NAMESPACE_SHORT_HANDS) for rule in found.namespaces),
        host_volumes=tuple(_expanded(rule, _VOLUME_SHORT_HANDS) for rule in found.host_volumes),
    )


def unknown_blocks(rules: str) -> tuple[str, ...]:
    """The names of unknown blocks in valid rules. Nomad: they are not an error."""
    names = dict.fromkeys(item.key for item in hcl.parse(rules).items)
    return tuple(name for name in names if name.lower() not in BLOCKS)


def rules_json(rules: Rules) -> RulesJSON:
    """The rules in the form that `GET /v1/acl/policy` shows."""
    return RulesJSON(
        agent=rules.agent,
        host_volumes=rules.host_volumes or None,
        namespaces=rules.namespaces or None,
        node=rules.node,
        operator=rules.operator,
        plugin=rules.plugin,
        quota=rules.quota,
        raw=rules.raw,
    )


def _read(rules: str) -> Rules:
    items = hcl.parse(rules).items
    operator = _last_block(items, "operator")
    return Rules(
        agent=_level_rule(items, "agent"),
        host_volumes=_named_rules(items, "host_volume"),
        namespaces=_named_rules(items, "namespace"),
        node=_level_rule(items, "node"),
        operator=None
        if operator is None
        else OperatorRule(capabilities=_texts(operator) or (), policy=_text(operator)),
        plugin=_level_rule(items, "plugin"),
        quota=_level_rule(items, "quota"),
        raw=rules,
    )


def _of_kind(items: Sequence[hcl.Item], kind: str) -> Iterable[hcl.Item]:
    # Nomad: keys match whatever the case.
    return (item for item in items if item.key.lower() == kind)


def _last_block(items: Sequence[hcl.Item], kind: str) -> hcl.Body | None:
    """Nomad: of two blocks of one kind the last one counts alone."""
    last = None
    for item in _of_kind(items, kind):
        for block in hcl.blocks(item):
            last = block.body
    return last


def _level_rule(items: Sequence[hcl.Item], kind: str) -> LevelRule | None:
    body = _last_block(items, kind)
    return None if body is None else LevelRule(policy=_text(body))


def _named_rules(items: Sequence[hcl.Item], kind: str) -> tuple[NamedRule, ...]:
    return tuple(
        NamedRule(capabilities=_texts(block.body), name=block.labels[0], policy=_text(block.body))
        for item in _of_kind(items, kind)
        for block in hcl.blocks(item, 1)
    )


def _text(body: hcl.Body) -> str:
    text = ""
    for item in _of_kind(body.items, "policy"):
        text = _string(item.value, "policy")
    return text


def _texts(body: hcl.Body) -> tuple[str, ...] | None:
    texts: list[str] | None = None
    for item in _of_kind(body.items, "capabilities"):
        if not isinstance(item.value, hcl.ListNode):
            raise hcl.HCLError(item.line, item.column, "capabilities must be a list of strings")
        texts = texts or []
        texts += (_string(value, "capabilities") for value in item.value.items)
    return None if texts is None else tuple(texts)


def _string(value: hcl.Value, key: str) -> str:
    if isinstance(value, hcl.Scalar) and isinstance(value.value, str):
        return value.value
    raise hcl.HCLError(value.line, value.column, f"{key} must be a string")


def _expanded(rule: NamedRule, short_hands: dict[str, tuple[str, ...]]) -> NamedRule:
    if not rule.policy:
        return rule
    capabilities = (*(rule.capabilities or ()), *short_hands[rule.policy])
    return NamedRule(capabilities=capabilities or None, name=rule.name, policy=rule.policy)


# Checking


def _check(rules: Rules) -> None:
    for rule in rules.namespaces:
        _check_named(rule, "namespace", "NamespacePolicy", _NAMESPACE_CAPABILITIES)
    for rule in rules.host_volumes:
        _check_named(rule, "host volume", "HostVolumePolicy", _VOLUME_CAPABILITIES)
    _check_level(rules.agent, "agent", "AgentPolicy", _LEVELS)
    _check_level(rules.node, "node", "NodePolicy", _LEVELS)
    if rules.operator:
        _check_operator(rules.operator)
    _check_level(rules.quota, "quota", "QuotaPolicy", _LEVELS)
    _check_level(rules.plugin, "plugin", "PluginPolicy", _PLUGIN_LEVELS)


def _check_named(rule: NamedRule, kind: str, type_name: str, known: frozenset[str]) -> None:
    shown = (
        f"&acl.{type_name}{{Name:{go_quote(rule.name)}, Policy:{go_quote(rule.policy)}, "
        f"Capabilities:{_go_list(rule.capabilities)}}}"
    )
    if not _PATTERN.fullmatch(rule.name):
        raise invalid(f"Invalid {kind} name: {shown}")
    if rule.policy and rule.policy not in _LEVELS:
        raise invalid(f"Invalid {kind} policy: {shown}")
    for capability in rule.capabilities or ():
        if capability not in known:
            raise invalid(f"Invalid {kind} capability '{capability}': {shown}")


def _check_level(rule: LevelRule | None, kind: str, type_name: str, levels: frozenset[str]) -> None:
    if rule and rule.policy not in levels:
        shown = f"&acl.{type_name}{{Policy:{go_quote(rule.policy)}}}"
        raise invalid(f"Invalid {kind} policy: {shown}")


def _check_operator(rule: OperatorRule) -> None:
    capabilities = rule.capabilities
    listed = f", Capabilities:{_go_list(capabilities)}" if capabilities else ""
    shown = f"&acl.OperatorPolicy{{Policy:{go_quote(rule.policy)}{listed}}}"
    if rule.policy not in _LEVELS and (rule.policy or not capabilities):
        raise invalid(f"Invalid operator policy: {shown}")
    for capability in capabilities:
        if capability not in _OPERATOR_CAPABILITIES:
            raise invalid(f"Invalid operator capability '{capability}': {shown}")


# How Go prints values, which is part of the texts above


def _go_list(texts: Sequence[str] | None) -> str:
    if texts is None:
        return "[]string(nil)"
    return "[]string{" + ", ".join(map(go_quote, texts)) + "}"
