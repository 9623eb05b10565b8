"""/v1/namespace and /v1/namespaces."""

from __future__ import annotations

import msgspec

from bellcow.acl.hashing import namespace_hash
from bellcow.acl.rights import Need
from bellcow.acl.validation import invalid_namespace, validate_namespace
from bellcow.api.call import Call, Reply
from bellcow.api.route import BodyRules, Serve, route
from bellcow.errors import Code, denied, invalid, refused
from bellcow.gocompat.quote import go_quote
from bellcow.model.namespace import Namespace, NamespaceBody
from bellcow.state.commands import delete_namespace, put_namespace
from bellcow.state.tables import NAMESPACES

# Nomad: a bad body is a plain failure here.
BODY = BodyRules(code=Code.REFUSED)
SHOWN_CHARS = 128


@route(
    "GET",
    "/v1/namespaces",
    need=Need.ANONYMOUS,
    right="none; only namespaces of the token are shown",
    serve=Serve.VOTER_OR_STALE,
    watch=(NAMESPACES,),
    reads=("prefix",),
)
def list_namespaces(call: Call) -> Reply[list[Namespace]]:
    """The namespaces in which the token has any right, sorted by name. `prefix` on the name."""
    tables = call.server.tables
    prefix = call.request.param("prefix")
    rows = [
        row
        for name, row in sorted(tables.all(NAMESPACES).items())
        if name.startswith(prefix) and call.rights.any_namespace_right(name)
    ]
    return Reply(rows, index=max(1, tables.table_index(NAMESPACES)), read=True)


@route(
    "GET",
    "/v1/namespace/{name}",
    need=Need.ANONYMOUS,
    right="any right in the namespace",
    serve=Serve.VOTER_OR_STALE,
    watch=(NAMESPACES,),
)
def read_namespace(call: Call) -> Reply[Namespace]:
    """One namespace, for a token that has any right in it.

    Raises:
        denied: the token has no right in it.
    """
    if not call.rights.any_namespace_right(call.tail):
        raise denied()
    tables = call.server.tables
    row = tables.get(NAMESPACES, call.tail)
    if row is None:
        index = tables.table_index(NAMESPACES)
        return Reply(status=404, text="Namespace not found", index=index, read=True)
    return Reply(row, index=tables.row_index(row), read=True)


@route("PUT, POST", "/v1/namespace", need=Need.MANAGEMENT, serve=Serve.LEADER, body_rules=BODY)
async def create_namespace(call: Call, body: NamespaceBody) -> Reply[None]:
    """Create or replace the namespace that the body names."""
    return await _put(call, body)


@route(
    "PUT, POST",
    "/v1/namespace/{name}",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    body_rules=BODY,
)
async def update_namespace(call: Call, body: NamespaceBody) -> Reply[None]:
    """Create or replace a namespace.

    Raises:
        invalid: the body has another name than the path.
    """
    if body.name != call.tail:
        raise invalid("Namespace name does not match request path")
    return await _put(call, body)


@route("DELETE", "/v1/namespace/{name}", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def remove_namespace(call: Call) -> Reply[None]:
    """Delete a namespace; an unknown one is deleted with success."""
    written = await call.server.commit(delete_namespace(call.tail))
    return Reply(index=written.index)


async def _put(call: Call, body: NamespaceBody) -> Reply[None]:
    namespace = body.row()
    if reasons := validate_namespace(namespace):
        raise invalid_namespace(namespace.name, reasons)
    if namespace.quota:
        # There are no quotas, so none of any name exists.
        quota = go_quote(namespace.quota, SHOWN_CHARS)
        raise refused(f"namespace {go_quote(namespace.name)} using non-existent quota {quota}")
    hashed = msgspec.structs.replace(namespace, hash=namespace_hash(namespace))
    written = await call.server.commit(put_namespace(hashed))
    return Reply(index=written.index)
