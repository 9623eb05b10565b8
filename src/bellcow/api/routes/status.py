"""/v1/status and /v1/regions: the leader, the servers of the consensus, the regions."""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import RAFT


@route("GET", "/v1/status/leader", need=Need.ANONYMOUS, serve=Serve.LEADER_OR_STALE, token=False)
def read_leader(call: Call) -> str:
    """The leader's server address, empty when nobody leads."""
    leader = call.server.leadership.leader_id
    return next((each.address for each in _raft(call).servers if each.id == leader), "")


@route("GET", "/v1/status/peers", need=Need.ANONYMOUS, serve=Serve.LEADER_OR_STALE, token=False)
def list_peers(call: Call) -> list[str]:
    """The server addresses of the consensus configuration, in its order."""
    return [each.address for each in _raft(call).servers]


@route("GET", "/v1/regions", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
def list_regions(call: Call) -> list[str]:
    """The names of the known regions, sorted."""
    return list(call.server.roster.regions())


def _raft(call: Call) -> RaftConfiguration:
    return call.server.tables.one(RAFT) or RaftConfiguration()
