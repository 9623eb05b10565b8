"""What a policy, a token and a namespace must be before they are stored. Pure.

Each problem has Nomad's text; all problems of an object are reported at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bellcow.acl.policy import parse_rules
from bellcow.errors import Error, invalid, not_found, refused
from bellcow.gocompat.multierror import several_errors
from bellcow.gocompat.quote import go_quote
from bellcow.wire import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bellcow.model.acl import ACLPolicy, ACLToken
    from bellcow.model.namespace import Namespace

MAX_DESCRIPTION = 256  # bytes
MAX_TOKEN_NAME = 256  # bytes
NAME = re.compile(r"[a-zA-Z0-9-]{1,128}")


def validate_policy(policy: ACLPolicy) -> list[str]:
    """Every reason to refuse the policy; empty when there is none."""
    reasons = []
    if not NAME.fullmatch(policy.name):
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
    if not NAME.fullmatch(namespace.name):
        name = go_quote(namespace.name)
        reasons.append(f"invalid name {name}. Must match regex ^{NAME.pattern}$")
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


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
