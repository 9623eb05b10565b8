"""Policies, tokens and the state of the bootstrap, as stored and as shown."""

from __future__ import annotations

from bellcow.wire import Wire


class ACLPolicy(Wire, frozen=True, kw_only=True, gc=False):
    """A named set of rules. `hash` is base64 of BLAKE2b-256 over name, description and rules."""

    create_index: int = 0
    description: str = ""
    hash: str = ""
    modify_index: int = 0
    name: str = ""
    rules: str = ""


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


class ACLTokenStub(Wire, frozen=True, kw_only=True):
    """A token in a list: without its secret."""

    accessor_id: str
    create_index: int
    create_time: str
    global_: bool
    hash: str
    modify_index: int
    name: str
    policies: tuple[str, ...] | None
    type: str


class ACLBootstrap(Wire, frozen=True, kw_only=True):
    """That the bootstrap was done: at which index, and so what the reset file must hold."""

    accessor_id: str
    create_index: int = 0
    modify_index: int = 0
    reset_index: int
