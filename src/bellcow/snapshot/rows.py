"""What a row of an archive must be: one that the API could have stored.

The rules of the values are those of the API, `problem()` of a struct and the checks of
`acl/policy.py` and `license/rules.py`. Here stands what only a finished row has: ids, hashes, times
and indexes. Pure: the state, the store and the clock are not known here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from bellcow.acl.hashing import policy_hash, token_hash
from bellcow.acl.policy import (
    validate_namespace,
    validate_policy,
    validate_token,
    validate_token_ids,
)
from bellcow.errors import Error
from bellcow.license.rules import check_form, parse_time
from bellcow.model.acl import ACLBootstrap, ACLPolicy, ACLToken
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.license import StoredLicense, TemporaryLicense
from bellcow.model.namespace import Namespace
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.wire import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_HASH = re.compile(r"[A-Za-z0-9+/]{43}=")  # 32 bytes in base64


def problems(row: Any, index: int) -> Iterator[str]:
    """Every reason to refuse a row of an archive of this index; none for a sound one."""
    created, modified = row.create_index, row.modify_index
    if not 0 <= created <= modified <= index:
        yield (
            f"CreateIndex {created}, ModifyIndex {modified} and the archive's index {index} "
            "are not in this order"
        )
    yield from RULES.get(type(row), _none)(row, index)


def _none(row: Any, index: int) -> Iterator[str]:
    del row, index
    return iter(())


def _setting(row: AutopilotConfiguration | SchedulerConfiguration, index: int) -> Iterator[str]:
    del index
    if (problem := row.problem()) is not None:
        yield problem.message


def _policy(row: ACLPolicy, index: int) -> Iterator[str]:
    del index
    yield from validate_policy(row)
    if row.hash != policy_hash(row):
        yield "the hash is not that of its name, description and rules"


def _token(row: ACLToken, index: int) -> Iterator[str]:
    del index
    yield from validate_token(row)
    yield from validate_token_ids(row)
    if not row.accessor_id or row.accessor_id != row.accessor_id.lower():
        yield "the AccessorID is missing, or not in small letters"
    if not row.secret_id:
        yield "the SecretID is missing"
    yield from _time("CreateTime", row.create_time)
    if row.hash != token_hash(row):
        yield "the hash is not that of its name, type and policies"


def _bootstrap(row: ACLBootstrap, index: int) -> Iterator[str]:
    if not UUID.fullmatch(row.accessor_id):
        yield "the AccessorID is no UUID"
    if not 0 <= row.reset_index <= index:
        yield f"ResetIndex {row.reset_index} is not within the archive's index {index}"


def _namespace(row: Namespace, index: int) -> Iterator[str]:
    del index
    yield from validate_namespace(row)
    # The form alone: what goes into the hash is more in later versions.
    if row.hash and not _HASH.fullmatch(row.hash):
        yield "the hash is not 32 bytes in base64"


def _license(row: StoredLicense, index: int) -> Iterator[str]:
    # The signature is looked at whenever the license is read: issuers differ from server to server.
    del index
    try:
        check_form(row.blob)
    except Error as problem:
        yield problem.message


def _temporary_license(row: TemporaryLicense, index: int) -> Iterator[str]:
    del index
    yield from _time("StartTime", row.start_time)


def _time(name: str, text: str) -> Iterator[str]:
    try:
        parse_time(text)
    except ValueError:
        yield f"{name} is no RFC 3339 time"


RULES: Final[Mapping[type, Callable[[Any, int], Iterator[str]]]] = {
    ACLBootstrap: _bootstrap,
    ACLPolicy: _policy,
    ACLToken: _token,
    AutopilotConfiguration: _setting,
    Namespace: _namespace,
    SchedulerConfiguration: _setting,
    StoredLicense: _license,
    TemporaryLicense: _temporary_license,
}
"""The rules by kind of row. The other kinds have indexes alone, or an archive never brings them."""
