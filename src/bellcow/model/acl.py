"""Policies, tokens and the state of the bootstrap, as stored and as shown to clients."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from bellcow.errors import Error, invalid
from bellcow.gocompat.duration import parse_duration
from bellcow.gocompat.time import NEVER
from bellcow.wire import UUID, Wire


class ACLPolicy(Wire, frozen=True, kw_only=True, gc=False):
    """A named set of rules. `hash` is base64 of BLAKE2b-256 over name, description and rules."""

    create_index: int = 0
    description: str = ""
    hash: str = ""
    modify_index: int = 0
    name: str = ""
    rules: str = ""


class ACLPolicyBody(Wire, frozen=True, kw_only=True):
    """A policy as a client sends it. Later releases of Nomad have `job_acl`."""

    GO_STRUCT: ClassVar[str] = "ACLPolicy"
    GO_TYPE: ClassVar[str] = "structs.ACLPolicy"

    create_index: int = 0
    description: str = ""
    hash: str = ""
    job_acl: Any = None
    modify_index: int = 0
    name: str = ""
    rules: str = ""

    def problem(self) -> Error | None:
        """The refusal of `job_acl`: a policy for jobs alone would apply to every token."""
        jobs = self.job_acl
        if any(jobs.values()) if isinstance(jobs, dict) else jobs:
            return invalid("JobACL is not supported: there are no jobs that could have the policy")
        return None

    def row(self) -> ACLPolicy:
        return ACLPolicy(description=self.description, name=self.name, rules=self.rules)


class ACLPolicyStub(Wire, frozen=True, kw_only=True):
    """A policy in a list: without its rules."""

    create_index: int
    description: str
    hash: str
    modify_index: int
    name: str


class ACLToken(Wire, frozen=True, kw_only=True, gc=False):
    """A token. `hash` is base64 of BLAKE2b-256 over name, type, each policy and `global` or
    `local`.

    `policies` is None for management tokens. `create_time` is RFC 3339 with nanoseconds.
    """

    accessor_id: str = ""
    create_index: int = 0
    create_time: str = ""
    global_: bool = False
    hash: str = ""
    modify_index: int = 0
    name: str = ""
    policies: tuple[str, ...] | None = None
    secret_id: str = ""
    type: str = ""


class ACLTokenBody(Wire, frozen=True, kw_only=True):
    """A token as a client sends it, with the fields of later releases of Nomad."""

    GO_STRUCT: ClassVar[str] = "ACLToken"
    GO_TYPE: ClassVar[str] = "structs.ACLToken"

    accessor_id: str = ""
    create_index: int = 0
    create_time: str = ""
    expiration_ttl: Any = None
    expiration_time: Any = None
    global_: bool = False
    hash: str = ""
    modify_index: int = 0
    name: str = ""
    policies: tuple[str, ...] | None = None
    roles: Any = None
    secret_id: str = ""
    type: str = ""

    def problem(self) -> Error | None:
        """The refusal of fields that would be ignored: the token would last longer, or do less."""
        ends = self.expiration_time not in (None, "", NEVER)
        if ends or not _is_no_length(self.expiration_ttl):
            return invalid(
                "ExpirationTTL and ExpirationTime are not supported: "
                "a token lasts until it is deleted; leave them out"
            )
        if self.roles:
            return invalid("Roles are not supported: name the policies in Policies")
        return None

    def row(self) -> ACLToken:
        return ACLToken(
            accessor_id=self.accessor_id,
            global_=self.global_,
            name=self.name,
            policies=self.policies,
            secret_id=self.secret_id,
            type=self.type,
        )


def _is_no_length(value: Any) -> bool:
    """Whether a client means with this value that the token does not expire."""
    try:
        return not value or (isinstance(value, str) and parse_duration(value) == 0)
    except ValueError:
        return False


class ACLTokenReply(Wire, frozen=True, kw_only=True):
    """A token as it is shown. Fields of later releases are empty, for their clients."""

    accessor_id: str
    create_index: int
    create_time: str
    expiration_ttl: str = ""
    expiration_time: str | None = None
    global_: bool
    hash: str
    modify_index: int
    name: str
    policies: tuple[str, ...] | None
    roles: tuple[str, ...] | None = None
    secret_id: str
    type: str


class ACLTokenStub(Wire, frozen=True, kw_only=True):
    """A token in a list: without its secret."""

    accessor_id: str
    create_index: int
    create_time: str
    expiration_time: str | None = None
    global_: bool
    hash: str
    modify_index: int
    name: str
    policies: tuple[str, ...] | None
    roles: tuple[str, ...] | None = None
    type: str


class ACLBootstrap(Wire, frozen=True, kw_only=True):
    """The record of the bootstrap. `reset_index` is what the reset file must contain."""

    accessor_id: str
    create_index: int = 0
    modify_index: int = 0
    reset_index: int


def secret_digest(secret: str) -> bytes:
    """The key that finds a token: a SHA-256, so that no lookup compares secrets byte by byte.

    Nomad: the case of a UUID does not matter.
    """
    text = secret.lower() if UUID.fullmatch(secret) else secret
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
