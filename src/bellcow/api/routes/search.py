"""/v1/search: names and IDs by their prefix. Only namespaces can be found yet."""

from __future__ import annotations

from itertools import islice
from typing import ClassVar

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.pipeline.answers import contact
from bellcow.api.route import SMALL_LIMIT, BodyRules, Serve, route
from bellcow.errors import denied, refused
from bellcow.gocompat.quote import go_quote
from bellcow.model.namespace import DEFAULT
from bellcow.state.tables import NAMESPACES
from bellcow.wire import Wire

ALL = "all"
NAMESPACE_NAMES = "namespaces"
# In the order in which a refusal names them. Source: `ossContexts` of Nomad 1.0.18.
CONTEXTS = (
    "allocs",
    "jobs",
    "nodes",
    "evals",
    "deployment",
    "plugins",
    "volumes",
    "scaling_policy",
    NAMESPACE_NAMES,
)
MOST = 20  # matches in one context
SHOWN_CHARS = 64
READ_JOB = ("read-job",)
# By context: each of these rights allows to search it.
CAPABILITIES: dict[str, tuple[str, ...]] = {
    "allocs": READ_JOB,
    "deployment": READ_JOB,
    "evals": READ_JOB,
    "jobs": READ_JOB,
    "scaling_policy": ("list-scaling-policies", *READ_JOB),
    "volumes": ("csi-list-volume", "csi-read-volume", "list-jobs", *READ_JOB),
}
# Nomad: asked for alone, these are refused to a token that may not search them; others are empty.
REFUSED_ALONE = frozenset(CAPABILITIES) - {"scaling_policy"} | {"nodes", NAMESPACE_NAMES}


class SearchBody(Wire, frozen=True, kw_only=True):
    """What to look for. `context` is a kind of thing, or `all`."""

    GO_STRUCT: ClassVar[str] = "SearchRequest"
    GO_TYPE: ClassVar[str] = "structs.SearchRequest"

    context: str = ""
    prefix: str = ""


class SearchReply(Wire, frozen=True, kw_only=True):
    """Matches by context, null for none; `truncations` says where there are more than 20."""

    index: int
    known_leader: bool
    last_contact: int
    matches: dict[str, list[str] | None]
    truncations: dict[str, bool]


def _must_see_something(call: Call) -> None:
    """Check that the token may read something here.

    Raises:
        denied: it may not.
    """
    namespace = call.request.param("namespace") or DEFAULT
    if not (call.rights.allows(Need.NODE_READ) or call.rights.any_namespace_right(namespace)):
        raise denied()


@route(
    "PUT, POST",
    "/v1/search",
    need=Need.ANONYMOUS,
    right="node:read or any right in the namespace",
    admit=_must_see_something,
    serve=Serve.LEADER,
    body_rules=BodyRules(limit=SMALL_LIMIT),
    reads=("namespace",),
)
async def search(call: Call, body: SearchBody) -> Reply[SearchReply]:
    """Find what begins with a prefix. Only contexts that the token may read are searched.

    Raises:
        denied: the token may not read the one context that is searched.
        refused: the context is unknown.
    """
    if body.context in REFUSED_ALONE and not _may_search(call, body.context):
        raise denied()
    contexts: tuple[str, ...] = CONTEXTS if body.context == ALL else (body.context,)
    if call.server.resolver.enabled:
        contexts = tuple(context for context in contexts if _may_search(call, context))
    elif unknown := set(contexts) - set(CONTEXTS):
        listed, shown = " ".join(CONTEXTS), go_quote(unknown.pop(), SHOWN_CHARS)
        raise refused(f"context must be one of [{listed}] or 'all' for all contexts; got {shown}")
    tables = call.server.tables
    contexts = tuple(sorted(contexts))
    matches: dict[str, list[str] | None] = dict.fromkeys(contexts)
    truncations = dict.fromkeys(contexts, False)
    index = tables.head.floor
    if NAMESPACE_NAMES in contexts:
        names = _namespaces(call, body.prefix)
        matches[NAMESPACE_NAMES] = names[:MOST] or None
        truncations[NAMESPACE_NAMES] = len(names) > MOST
        index = tables.table_index(NAMESPACES)
    known, contact_ns = contact(call.server, call.request)
    reply = SearchReply(
        index=index,
        known_leader=known,
        last_contact=contact_ns,
        matches=matches,
        truncations=truncations,
    )
    return Reply(reply, index=index, read=True)


def _may_search(call: Call, context: str) -> bool:
    namespace = call.request.param("namespace") or DEFAULT
    rights = call.rights
    if context == "nodes":
        return rights.allows(Need.NODE_READ)
    if context == NAMESPACE_NAMES:
        return rights.any_namespace_right(namespace)
    # Nomad: with ACLs on, plugins are never searched.
    capabilities = CAPABILITIES.get(context, ())
    return any(rights.namespace_allows(namespace, capability) for capability in capabilities)


def _namespaces(call: Call, prefix: str) -> list[str]:
    """The names with that prefix that the token may see, one more than is shown."""
    names = (
        name
        for name in sorted(call.server.tables.all(NAMESPACES))
        if name.startswith(prefix) and call.rights.any_namespace_right(name)
    )
    return list(islice(names, MOST + 1))
