"""What a row of an archive must be: one that the API could have stored.

The rules of the values are those of the API, `problem()` of a struct and the checks of
`acl/policy.py` and `license/rules.py`. This module checks what only a stored row has: ids, hashes,
times and indexes. Pure: it uses neither state nor store nor clock.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bellcow.acl.hashing import policy_hash, token_hash
from bellcow.acl.validation import (
    validate_namespace,
    validate_policy,
    validate_token,
    validate_token_ids,
)
from bellcow.errors import Error
from bellcow.license.signature import check_form
from bellcow.model.acl import ACLBootstrap, ACLPolicy, ACLToken
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.license import StoredLicense, TemporaryLicense
from bellcow.model.namespace import Namespace
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.wire import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HASH = re.compile(r"[A-Za-z0-9+/]{43}=")  # 32 bytes in base64
_TIME = re.compile(r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?Z")


def problems(row: Any, index: int) -> list[str]:
    """Every reason to refuse a row of an archive with this index."""
    # Lists, not generators: an archive may hold a million tokens.
    rule = RULES.get(type(row))
    reasons = rule(row, index) if rule else []
    created, modified = row.create_index, row.modify_index
    if not 0 <= created <= modified <= index:
        reasons.append(
            f"CreateIndex {created}, ModifyIndex {modified} and the archive's index {index} "
            "are not in this order"
        )
    return reasons


def _setting(row: AutopilotConfiguration | SchedulerConfiguration, _index: int) -> list[str]:
    problem = row.problem()
    return [] if problem is None else [problem.message]


def _policy(row: ACLPolicy, _index: int) -> list[str]:
    reasons = validate_policy(row)
    if row.hash != policy_hash(row):
        reasons.append("the hash is not that of its name, description and rules")
    return reasons


def _token(row: ACLToken, _index: int) -> list[str]:
    reasons = validate_token(row) + validate_token_ids(row)
    if not row.accessor_id or row.accessor_id != row.accessor_id.lower():
        reasons.append("the AccessorID is missing, or not in lower case")
    if not row.secret_id:
        reasons.append("the SecretID is missing")
    if not _is_time(row.create_time):
        reasons.append("CreateTime is no RFC 3339 time in UTC")
    if row.hash != token_hash(row):
        reasons.append("the hash is not that of its name, type and policies")
    return reasons


def _is_time(text: str) -> bool:
    """Whether `rfc3339` may have written it."""
    try:
        return _TIME.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _bootstrap(row: ACLBootstrap, index: int) -> list[str]:
    reasons = [] if UUID.fullmatch(row.accessor_id) else ["the AccessorID is no UUID"]
    if not 0 <= row.reset_index <= index:
        reasons.append(f"ResetIndex {row.reset_index} is not within the archive's index {index}")
    return reasons


def _namespace(row: Namespace, _index: int) -> list[str]:
    reasons = validate_namespace(row)
    # Only the form: later versions hash more fields.
    if row.hash and not _HASH.fullmatch(row.hash):
        reasons.append("the hash is not 32 bytes in base64")
    return reasons


def _license(row: StoredLicense, _index: int) -> list[str]:
    # The signature is checked whenever the license is read: servers may trust different issuers.
    try:
        check_form(row.blob)
    except Error as problem:
        return [problem.message]
    return []


def _temporary_license(row: TemporaryLicense, _index: int) -> list[str]:
    return [] if _is_time(row.start_time) else ["StartTime is no RFC 3339 time in UTC"]


RULES: Final[Mapping[type, Callable[[Any, int], list[str]]]] = {
    ACLBootstrap: _bootstrap,
    ACLPolicy: _policy,
    ACLToken: _token,
    AutopilotConfiguration: _setting,
    Namespace: _namespace,
    SchedulerConfiguration: _setting,
    StoredLicense: _license,
    TemporaryLicense: _temporary_license,
}
"""The rules by type of row. Other types have only indexes, or are never restored."""
