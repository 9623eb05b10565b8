"""/v1/acl: bootstrap, policies, tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.acl import commands
from bellcow.acl.hashing import policy_hash
from bellcow.acl.policy import RulesJSON, rules_json
from bellcow.acl.rights import Need
from bellcow.acl.tokens import ANONYMOUS_POLICY
from bellcow.acl.validation import invalid_policy, validate_policy, validate_token_ids
from bellcow.api.call import Call, Reply
from bellcow.api.route import SMALL_LIMIT, BodyRules, Serve, route
from bellcow.clock import new_uuid
from bellcow.errors import Code, denied, invalid, refused
from bellcow.model.acl import (
    ACLPolicyBody,
    ACLPolicyStub,
    ACLToken,
    ACLTokenBody,
    ACLTokenReply,
    ACLTokenStub,
)
from bellcow.state.tables import ACL_POLICIES, ACL_TOKENS
from bellcow.wire import UUID, UUID_CHARS, Wire, rfc3339

if TYPE_CHECKING:
    from bellcow.state.tables import Tables

BASE = "/v1/acl"
RESET_FILE = "acl-bootstrap-reset"
RESET_DIGITS = 20
LEADING_NUMBER = re.compile(r"\+?([0-9]+)")
# Nomad: a bad body is a plain failure here.
BODY = BodyRules(code=Code.REFUSED)


class BootstrapBody(Wire, frozen=True, kw_only=True):
    """The optional body of a bootstrap: the secret of the first token."""

    bootstrap_secret: str = ""


class ACLPolicyReply(Wire, frozen=True, kw_only=True):
    """A policy with its rules, as text and as read."""

    create_index: int
    description: str
    hash: str
    modify_index: int
    name: str
    rules: str
    rules_json: RulesJSON


def _must_be_on(call: Call) -> None:
    if not call.server.resolver.enabled:
        raise invalid("ACL support disabled")


# Bootstrap


@route(
    "PUT, POST",
    f"{BASE}/bootstrap",
    need=Need.ANONYMOUS,
    serve=Serve.LEADER,
    token=False,
    body_rules=BodyRules(optional=True, limit=SMALL_LIMIT),
)
async def bootstrap(call: Call, body: BootstrapBody | None) -> Reply[ACLTokenReply]:
    """Make the first management token; once, and again only with the reset file in place."""
    _must_be_on(call)
    server = call.server
    secret = body.bootstrap_secret if body else ""
    if secret and not UUID.fullmatch(secret):
        raise invalid("invalid acl token")
    token = ACLToken(
        accessor_id=new_uuid(server.clock),
        secret_id=secret or new_uuid(server.clock),
        name="Bootstrap Token",
        type="management",
        global_=True,
        create_time=rfc3339(server.clock.wall_ns()),
    )
    reset = server.data_dir / RESET_FILE if server.data_dir else None
    made = await server.commit(commands.bootstrap(token, _reset_index(reset)))
    if reset is not None and reset.exists():
        reset.unlink()
        server.report("acl_bootstrap_reset", accessor=made.accessor_id)
    return _written(made)


def _reset_index(path: Any) -> int | None:
    """The index in the reset file; None without one, and -1, which never fits, for no number.

    Nomad: the text after the number is ignored.
    """
    try:
        text = path.read_text("ascii", "replace").strip() if path else ""
    except FileNotFoundError:
        return None
    if not path:
        return None
    number = LEADING_NUMBER.match(text)
    return int(number[1]) if number and len(number[1]) <= RESET_DIGITS else -1


# Policies


@route(
    "GET",
    f"{BASE}/policies",
    need=Need.ANONYMOUS,
    right="any token, which is shown its own",
    serve=Serve.LEADER_OR_STALE,
    watch=(ACL_POLICIES,),
)
def list_policies(call: Call) -> Reply[list[ACLPolicyStub]]:
    """All policies for a management token, else those that the token has. `prefix` on the name."""
    _must_be_on(call)
    tables = call.server.tables
    names = _visible_policies(call)
    prefix = call.request.param("prefix")
    stubs = [
        msgspec.convert(policy, ACLPolicyStub, from_attributes=True)
        for name in sorted(names)
        if name.startswith(prefix) and (policy := tables.get(ACL_POLICIES, name)) is not None
    ]
    return Reply(stubs, index=max(1, tables.table_index(ACL_POLICIES)), read=True)


def _visible_policies(call: Call) -> list[str]:
    if call.rights.management:
        return list(call.server.tables.all(ACL_POLICIES))
    if not call.secret:
        return [ANONYMOUS_POLICY]
    token = call.server.resolver.token(call.secret)
    return list(token.policies or ()) if token else []


@route(
    "GET",
    f"{BASE}/policy/{{name}}",
    need=Need.ANONYMOUS,
    right="management, or a token that has the policy",
    serve=Serve.LEADER_OR_STALE,
    watch=(ACL_POLICIES,),
)
def read_policy(call: Call) -> Reply[ACLPolicyReply]:
    """One policy with its rules; for a management token or one that has it."""
    _must_be_on(call)
    name = _named(call.tail, "Missing Policy Name")
    visible = call.rights.management or name == ANONYMOUS_POLICY or name in _visible_policies(call)
    if not visible:
        raise denied()
    tables = call.server.tables
    policy = tables.get(ACL_POLICIES, name)
    if policy is None:
        index = tables.table_index(ACL_POLICIES)
        return Reply(status=404, text="ACL policy not found", index=index, read=True)
    shown = ACLPolicyReply(
        **msgspec.structs.asdict(policy),
        rules_json=rules_json(call.server.resolver.rules_of(policy)),
    )
    return Reply(shown, index=tables.row_index(policy), read=True)


@route(
    "PUT, POST",
    f"{BASE}/policy/{{name}}",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    body_rules=BODY,
)
async def put_policy(call: Call, body: ACLPolicyBody) -> Reply[None]:
    """Create or replace a policy."""
    _must_be_on(call)
    name = _named(call.tail, "Missing Policy Name")
    if body.name != name:
        raise invalid("ACL policy name does not match request path")
    policy = body.row()
    if reasons := validate_policy(policy):
        raise invalid_policy(reasons)
    hashed = msgspec.structs.replace(policy, hash=policy_hash(policy))
    written = await call.server.commit(commands.put_policy(hashed))
    return Reply(index=written.index)


@route("DELETE", f"{BASE}/policy/{{name}}", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def delete_policy(call: Call) -> Reply[None]:
    """Delete a policy; an unknown one is deleted with success."""
    _must_be_on(call)
    name = _named(call.tail, "Missing Policy Name")
    written = await call.server.commit(commands.delete_policy(name))
    return Reply(index=written.index)


# Tokens


@route(
    "GET",
    f"{BASE}/tokens",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER_OR_STALE,
    watch=(ACL_TOKENS,),
)
def list_tokens(call: Call) -> Reply[list[ACLTokenStub]]:
    """All tokens without their secrets, sorted by accessor. `prefix` on the accessor."""
    _must_be_on(call)
    tables = call.server.tables
    prefix = call.request.param("prefix").lower()
    stubs = [
        msgspec.convert(token, ACLTokenStub, from_attributes=True)
        for accessor, token in sorted(tables.all(ACL_TOKENS).items())
        if accessor.startswith(prefix)
    ]
    return Reply(stubs, index=tables.table_index(ACL_TOKENS), read=True)


@route(
    "GET",
    f"{BASE}/token/self",
    need=Need.ANONYMOUS,
    right="any token",
    serve=Serve.LEADER_OR_STALE,
    token=False,
)
def read_own_token(call: Call) -> Reply[ACLTokenReply]:
    """The token that the request carries."""
    _must_be_on(call)
    secret = call.carried_secret()
    if not secret:
        raise refused("acl token lookup failed: missing secret id")
    tables = call.server.tables
    token = call.server.resolver.token(secret)
    if token is None:
        call.server.bad_tokens.check(call.request.client)
        return _no_token(tables)
    return Reply(_shown(token), index=tables.row_index(token), read=True)


@route(
    "GET",
    f"{BASE}/token/{{accessor}}",
    need=Need.ANONYMOUS,
    right="management, or the token itself",
    serve=Serve.LEADER_OR_STALE,
    watch=(ACL_TOKENS,),
)
def read_token(call: Call) -> Reply[ACLTokenReply]:
    """One token with its secret; for a management token or for the token itself."""
    _must_be_on(call)
    accessor = _accessor(call.tail)
    tables = call.server.tables
    token = tables.get(ACL_TOKENS, accessor.lower())
    own = call.server.resolver.token(call.secret) if call.secret else None
    if not call.rights.management and (token is None or own is not token):
        raise denied()
    if token is None:
        return _no_token(tables)
    return Reply(_shown(token), index=tables.row_index(token), read=True)


@route("PUT, POST", f"{BASE}/token", need=Need.MANAGEMENT, serve=Serve.LEADER, body_rules=BODY)
async def put_token(call: Call, body: ACLTokenBody) -> Reply[ACLTokenReply]:
    """Create a token; with the accessor of an existing one, update that.

    With an unused accessor and an unused secret, the token is created with them.
    """
    _must_be_on(call)
    token = body.row()
    known = call.server.tables.get(ACL_TOKENS, token.accessor_id.lower()) is not None
    if known or (token.accessor_id and not token.secret_id):
        return await _update(call, token)
    return await _create(call, token)


@route(
    "PUT, POST",
    f"{BASE}/token/{{accessor}}",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    body_rules=BODY,
)
async def update_token(call: Call, body: ACLTokenBody) -> Reply[ACLTokenReply]:
    """Replace name, type and policies of a token; its secret stays."""
    _must_be_on(call)
    accessor = _named(call.tail, "Missing Token Accessor")
    if body.accessor_id != accessor:
        raise invalid("ACL token accessor does not match request path")
    return await _update(call, body.row())


@route("DELETE", f"{BASE}/token/{{accessor}}", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def delete_token(call: Call) -> Reply[None]:
    """Delete a token; it stops working at once."""
    _must_be_on(call)
    accessor = _named(call.tail, "Missing Token Accessor")
    written = await call.server.commit(commands.delete_token(accessor))
    return Reply(index=written.index)


async def _create(call: Call, given: ACLToken) -> Reply[ACLTokenReply]:
    clock = call.server.clock
    if reasons := validate_token_ids(given):
        raise invalid(reasons[0])
    # Nomad: a secret without an accessor is ignored.
    secret = given.secret_id if given.accessor_id else ""
    token = msgspec.structs.replace(
        given,
        accessor_id=given.accessor_id.lower() or new_uuid(clock),
        secret_id=secret or new_uuid(clock),
        create_time=rfc3339(clock.wall_ns()),
    )
    return _written(await call.server.commit(commands.create_token(token)))


async def _update(call: Call, given: ACLToken) -> Reply[ACLTokenReply]:
    return _written(await call.server.commit(commands.update_token(given)))


def _written(token: ACLToken) -> Reply[ACLTokenReply]:
    return Reply(_shown(token), index=token.modify_index)


def _shown(token: ACLToken) -> ACLTokenReply:
    return msgspec.convert(token, ACLTokenReply, from_attributes=True)


def _named(tail: str, missing: str) -> str:
    if not tail:
        raise invalid(missing)
    return tail


def _accessor(tail: str) -> str:
    accessor = _named(tail, "Missing Token Accessor")
    if len(accessor) != UUID_CHARS:
        # Nomad: the text speaks of the index of its store.
        raise refused("acl token lookup failed: index error: UUID must be 36 characters")
    return accessor


def _no_token(tables: Tables) -> Reply[ACLTokenReply]:
    index = tables.table_index(ACL_TOKENS)
    return Reply(status=404, text="ACL token not found", index=index, read=True)
