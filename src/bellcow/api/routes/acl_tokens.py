"""/v1/acl/tokens and /v1/acl/token."""

from __future__ import annotations

import msgspec

from bellcow.acl import commands
from bellcow.acl.rights import Need
from bellcow.acl.validation import validate_token_ids
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.api.routes.acl import BASE, BODY, must_be_on, named
from bellcow.clock import new_uuid
from bellcow.errors import denied, invalid, refused
from bellcow.gocompat.time import rfc3339
from bellcow.model.acl import ACLToken, ACLTokenBody, ACLTokenReply, ACLTokenStub
from bellcow.state.tables import ACL_TOKENS, Tables
from bellcow.wire import UUID_CHARS


@route(
    "GET",
    f"{BASE}/tokens",
    need=Need.MANAGEMENT,
    serve=Serve.VOTER_OR_STALE,
    watch=(ACL_TOKENS,),
    reads=("prefix",),
)
def list_tokens(call: Call) -> Reply[list[ACLTokenStub]]:
    """All tokens without their secrets, sorted by accessor. `prefix` on the accessor."""
    must_be_on(call)
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
    serve=Serve.VOTER_OR_STALE,
    token=False,
)
def read_own_token(call: Call) -> Reply[ACLTokenReply]:
    """The token that the request carries.

    Raises:
        refused: the request carries no token.
    """
    must_be_on(call)
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
    serve=Serve.VOTER_OR_STALE,
    watch=(ACL_TOKENS,),
)
def read_token(call: Call) -> Reply[ACLTokenReply]:
    """One token with its secret; for a management token or for the token itself.

    Raises:
        denied: the request has neither a management token nor this one.
    """
    must_be_on(call)
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
    must_be_on(call)
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
    """Replace name, type and policies of a token; its secret stays.

    Raises:
        invalid: the body has another accessor than the path.
    """
    must_be_on(call)
    accessor = named(call.tail, "Missing Token Accessor")
    if body.accessor_id != accessor:
        raise invalid("ACL token accessor does not match request path")
    return await _update(call, body.row())


@route("DELETE", f"{BASE}/token/{{accessor}}", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def delete_token(call: Call) -> Reply[None]:
    """Delete a token; it stops working at once."""
    must_be_on(call)
    accessor = named(call.tail, "Missing Token Accessor")
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
    return written_token(await call.server.commit(commands.create_token(token)))


async def _update(call: Call, given: ACLToken) -> Reply[ACLTokenReply]:
    return written_token(await call.server.commit(commands.update_token(given)))


def written_token(token: ACLToken) -> Reply[ACLTokenReply]:
    return Reply(_shown(token), index=token.modify_index)


def _shown(token: ACLToken) -> ACLTokenReply:
    return msgspec.convert(token, ACLTokenReply, from_attributes=True)


def _accessor(tail: str) -> str:
    accessor = named(tail, "Missing Token Accessor")
    if len(accessor) != UUID_CHARS:
        # Nomad: the text speaks of the index of its store.
        raise refused("acl token lookup failed: index error: UUID must be 36 characters")
    return accessor


def _no_token(tables: Tables) -> Reply[ACLTokenReply]:
    index = tables.table_index(ACL_TOKENS)
    return Reply(status=404, text="ACL token not found", index=index, read=True)
