"""/v1/acl/policies and /v1/acl/policy: who sees which policy, and changes to them."""

from __future__ import annotations

import msgspec

from bellcow.acl import commands
from bellcow.acl.hashing import policy_hash
from bellcow.acl.policy import RulesJSON, rules_json
from bellcow.acl.rights import Need
from bellcow.acl.tokens import ANONYMOUS_POLICY
from bellcow.acl.validation import invalid_policy, validate_policy
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.api.routes.acl import BASE, BODY, must_be_on, named
from bellcow.errors import denied, invalid
from bellcow.model.acl import ACLPolicyBody, ACLPolicyStub
from bellcow.state.tables import ACL_POLICIES
from bellcow.wire import Wire


class ACLPolicyReply(Wire, frozen=True, kw_only=True):
    """A policy with its rules, as text and as read."""

    create_index: int
    description: str
    hash: str
    modify_index: int
    name: str
    rules: str
    rules_json: RulesJSON


@route(
    "GET",
    f"{BASE}/policies",
    need=Need.ANONYMOUS,
    right="any token, which is shown its own",
    serve=Serve.VOTER_OR_STALE,
    watch=(ACL_POLICIES,),
    reads=("prefix",),
)
def list_policies(call: Call) -> Reply[list[ACLPolicyStub]]:
    """All policies for a management token, else those that the token has. `prefix` on the name."""
    must_be_on(call)
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
    serve=Serve.VOTER_OR_STALE,
    watch=(ACL_POLICIES,),
)
def read_policy(call: Call) -> Reply[ACLPolicyReply]:
    """One policy with its rules; for a management token or one that has it.

    Raises:
        denied: the request's token neither is a management token nor has the policy.
    """
    must_be_on(call)
    name = named(call.tail, "Missing Policy Name")
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
    """Create or replace a policy.

    Raises:
        invalid: the body has another name than the path.
        invalid_policy: the policy is wrong; the text has every reason.
    """
    must_be_on(call)
    name = named(call.tail, "Missing Policy Name")
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
    must_be_on(call)
    name = named(call.tail, "Missing Policy Name")
    written = await call.server.commit(commands.delete_policy(name))
    return Reply(index=written.index)
