"""/v1/operator/raft: the raft configuration, removal of a peer, transfer of leadership."""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route
from bellcow.api.routes.operator import BASE
from bellcow.cluster.peers.quorum import describe, find_server, is_ip_and_port
from bellcow.errors import Error, invalid, not_found
from bellcow.model.raft import (
    LeadershipTransferReply,
    RaftConfiguration,
    RaftConfigurationReply,
    RaftPeer,
    RaftServer,
)
from bellcow.state.tables import RAFT
from bellcow.wire import UUID, UUID_CHARS


@route(
    "GET",
    f"{BASE}/raft/configuration*",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER_OR_STALE,
    wrong_method_text="",
)
def read_raft_configuration(call: Call) -> RaftConfigurationReply:
    """The servers in the consensus configuration, and which of them vote and lead."""
    server = call.server
    return describe(_raft(call), server.roster.names(), server.leadership.leader_id)


@route(
    "DELETE",
    f"{BASE}/raft/peer*",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    wrong_method=404,
    reads=("id", "address", "force"),
)
async def remove_raft_peer(call: Call) -> None:
    """Remove a server from the consensus configuration, by `id` or by `address`.

    Refused with 409 where it would cost the quorum; `force=true` removes it anyway.
    """
    await call.server.membership.remove(_named_server(call).id, force=call.flag("force"))


@route(
    "PUT, POST",
    f"{BASE}/raft/transfer-leadership",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    reads=("id", "address"),
)
async def transfer_leadership(call: Call) -> LeadershipTransferReply:
    """Transfer leadership to the voter named by `id` or `address`.

    Raises:
        invalid: the named server has no vote.
    """
    configuration = _raft(call)
    target = _transfer_target(call, configuration)
    leader = find_server(configuration, by="id", value=call.server.roster.itself.server_id)
    if target.id != leader.id:
        if not target.voter:
            raise invalid(f'server "{target.id}" has no vote and cannot lead')
        await call.server.membership.transfer(target.id)
    return LeadershipTransferReply(
        from_=_peer(leader), to=_peer(target), noop=target.id == leader.id
    )


@route(
    "GET",
    f"{BASE}/raft/{{rest}}",
    need=Need.ANONYMOUS,
    serve=Serve.LOCAL,
    token=False,
    wrong_method=404,
    documented=False,
)
def refuse_other_raft_path(call: Call) -> None:
    """Nomad: any other path below /v1/operator/raft is refused as an invalid method.

    Raises:
        not_found: always.
    """
    del call
    raise not_found("Invalid method")


def _raft(call: Call) -> RaftConfiguration:
    return call.server.tables.one(RAFT) or RaftConfiguration()


def _named_server(call: Call) -> RaftServer:
    """The server that `id` or `address` names. Nomad: presence counts, even when empty.

    Raises:
        invalid: there is not exactly one of `id` and `address`.
    """
    by_id, by_address = call.request.has("id"), call.request.has("address")
    if not by_id and not by_address:
        raise invalid(
            "Must specify either ?id with the server's ID "
            "or ?address with IP:port of peer to remove"
        )
    if by_id and by_address:
        raise invalid("Must specify only one of ?id or ?address")
    by = "id" if by_id else "address"
    return find_server(_raft(call), by=by, value=call.request.param(by))


def _peer(server: RaftServer) -> RaftPeer:
    return RaftPeer(address=server.address, id=server.id)


def _transfer_target(call: Call, configuration: RaftConfiguration) -> RaftServer:
    query = call.request.query
    ids, addresses = query.get("id", []), query.get("address", [])
    if not ids and not addresses:
        raise invalid("must specify id or address")
    if ids and addresses:
        raise invalid("must specify either id or address")
    by, values = ("id", ids) if ids else ("address", addresses)
    if len(values) > 1:
        raise invalid(f"must specify only one {by}")
    _must_name_a_server(by, values[0])
    try:
        return find_server(configuration, by=by, value=values[0])
    except Error as error:
        raise invalid(error.message) from None


def _must_name_a_server(by: str, value: str) -> None:
    """Check that the text can be an id or an address.

    Raises:
        invalid: it cannot be one; the text is Go's.
    """
    if not value:
        raise invalid(f"{by} must be non-empty")
    if by == "id" and len(value) != UUID_CHARS:
        raise invalid("id must be a uuid: uuid string is wrong length")
    if by == "id" and not UUID.fullmatch(value):
        raise invalid("id must be a uuid: uuid is improperly formatted")
    if by == "address" and not is_ip_and_port(value):
        raise invalid("address must be in IP:port format: not an ip:port")
