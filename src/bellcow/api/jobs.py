"""The lists of the job side: empty, with rights and headers, until there is a scheduler."""

from __future__ import annotations

from typing import Any

from bellcow.acl.policy import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.errors import denied
from bellcow.model.namespace import DEFAULT

CAPABILITY = {
    "/v1/allocations": "read-job",
    "/v1/deployments": "read-job",
    "/v1/evaluations": "read-job",
    "/v1/jobs": "list-jobs",
}
ALL_NAMESPACES = "*"


def list_namespaced(call: Call) -> Reply[list[Any]]:
    """The objects of one namespace, or of all the token may see; none yet."""
    name = call.request.param("namespace") or DEFAULT
    capability = CAPABILITY[call.request.path]
    if name != ALL_NAMESPACES and not call.rights.namespace_allows(name, capability):
        raise denied()
    return _nothing(call)


for _path, _capability in CAPABILITY.items():
    route(
        "GET",
        _path,
        need=Need.ANONYMOUS,
        right=f"{_capability} in the namespace",
        serve=Serve.LEADER_OR_STALE,
    )(list_namespaced)


@route("GET", "/v1/nodes", need=Need.NODE_READ, serve=Serve.LEADER_OR_STALE)
def list_nodes(call: Call) -> Reply[list[Any]]:
    """The client nodes; none yet."""
    return _nothing(call)


def _nothing(call: Call) -> Reply[list[Any]]:
    return Reply([], index=call.server.tables.head.floor, read=True)
