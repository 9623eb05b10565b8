"""The policy language: parses rules into structs, and adds up several policies into rights.

Pure: it knows no requests, secrets, tables or time. Each route declares the right that it needs.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

import msgspec

from bellcow.errors import Error, invalid, not_found, refused
from bellcow.gocompat import hcl
from bellcow.gocompat.multierror import several_errors
from bellcow.gocompat.quote import go_quote
from bellcow.wire import UUID, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bellcow.model.acl import ACLPolicy, ACLToken
    from bellcow.model.namespace import Namespace

DENY = "deny"
SNAPSHOT_SAVE = "snapshot-save"
LICENSE_READ = "license-read"

BLOCKS = ("agent", "host_volume", "namespace", "node", "operator", "plugin", "quota")
MAX_DESCRIPTION = 256  # bytes
MAX_TOKEN_NAME = 256  # bytes
_MEMO_SIZE = 1024  # namespace names come from clients, so the memo must not grow with them

_NAME = re.compile(r"[a-zA-Z0-9-]{1,128}")
_PATTERN = re.compile(r"[a-zA-Z0-9*-]{1,128}")

_LEVELS = frozenset({DENY, "read", "write", "scale"})
_PLUGIN_LEVELS = frozenset({DENY, "read", "list"})
_STRONGEST_FIRST = (DENY, "write", "read", "list")

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
            if not _NAME.fullmatch(name):
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


# Reading


def parse_rules(rules: str) -> Rules:
    """Parse and check a policy's rules. Raises Error(INVALID) with Nomad's text."""
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


def validate_policy(policy: ACLPolicy) -> list[str]:
    """Every reason to refuse the policy; empty when there is none."""
    reasons = []
    if not _NAME.fullmatch(policy.name):
        reasons.append(f"invalid name '{policy.name}'")
    try:
        parse_rules(policy.rules)
    except Error as problem:
        reasons.append(f"failed to parse rules: {problem.message}")
    if _size(policy.description) > MAX_DESCRIPTION:
        reasons.append(f"description longer than {MAX_DESCRIPTION}")
    return reasons


def validate_token(token: ACLToken) -> list[str]:
    """Every reason to refuse the token; empty when there is none."""
    reasons = []
    if _size(token.name) > MAX_TOKEN_NAME:
        reasons.append("token name too long")
    if token.type == "client":
        if not token.policies:
            reasons.append("client token missing policies")
    elif token.type == "management":
        if token.policies:
            reasons.append("management token cannot be associated with policies")
    else:
        reasons.append("token type must be client or management")
    return reasons


def validate_token_ids(token: ACLToken) -> list[str]:
    """Why the given accessor or secret cannot be one; empty when both are fine or left out."""
    given = [text for text in (token.accessor_id, token.secret_id) if text]
    if all(map(UUID.fullmatch, given)):
        return []
    return ["AccessorID and SecretID must be UUIDs when given"]


def validate_namespace(namespace: Namespace) -> list[str]:
    """Every reason to refuse the namespace; empty when there is none."""
    reasons = []
    if not _NAME.fullmatch(namespace.name):
        name = go_quote(namespace.name)
        reasons.append(f"invalid name {name}. Must match regex ^{_NAME.pattern}$")
    if _size(namespace.description) > MAX_DESCRIPTION:
        reasons.append(f"description longer than {MAX_DESCRIPTION}")
    return reasons


def invalid_policy(reasons: Sequence[str], position: int = 0) -> Error:
    # Nomad: a bad policy answers 404, a bad token 400 and a bad namespace 500.
    return not_found(f"policy {position} invalid: {several_errors(reasons)}")


def invalid_token(reasons: Sequence[str], position: int = 0) -> Error:
    return invalid(f"token {position} invalid: {several_errors(reasons)}")


def invalid_namespace(name: str, reasons: Sequence[str]) -> Error:
    return refused(f"Invalid namespace {go_quote(name)}: {several_errors(reasons)}")


# How Go prints values, which is part of the texts above


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _go_list(texts: Sequence[str] | None) -> str:
    if texts is None:
        return "[]string(nil)"
    return "[]string{" + ", ".join(map(go_quote, texts)) + "}"
