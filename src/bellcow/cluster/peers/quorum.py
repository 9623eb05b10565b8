"""The raft configuration: its servers, how clients see it, and which removals the quorum allows.

Pure: takes the stored configuration and what hello shows of the servers.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from bellcow.errors import Code, Error, refused
from bellcow.gocompat.quote import go_quote
from bellcow.model.raft import RaftConfigurationReply, RaftServerReply

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bellcow.model.raft import RaftConfiguration, RaftServer

RAFT_PROTOCOL = "3"
_SHOWN = 200  # characters of a text that a client sent
MAX_PORT = 65_535


def describe(
    configuration: RaftConfiguration, names: Mapping[str, str], leader_id: str
) -> RaftConfigurationReply:
    """The configuration as clients see it. `names` maps server ids to member names."""
    return RaftConfigurationReply(
        index=configuration.modify_index,
        servers=tuple(
            RaftServerReply(
                address=server.address,
                id=server.id,
                leader=server.id == leader_id,
                node=names.get(server.id, "(unknown)"),
                raft_protocol=RAFT_PROTOCOL if server.id in names else "unknown",
                voter=server.voter,
            )
            for server in configuration.servers
        ),
    )


def find_server(configuration: RaftConfiguration, *, by: str, value: str) -> RaftServer:
    """The server with that `id` or `address`.

    Raises:
        refused: there is none. Nomad: clients match on these words.
    """
    for server in configuration.servers:
        if (server.id if by == "id" else server.address) == value:
            return server
    raise refused(f"{by} {go_quote(value, _SHOWN)} was not found in the Raft configuration")


def keeps_quorum(voters: Collection[str], answering: Collection[str]) -> bool:
    """Whether a majority of these voters answers."""
    return sum(each in answering for each in voters) >= len(voters) // 2 + 1


def check_removal(
    configuration: RaftConfiguration,
    server: RaftServer,
    alive: Collection[str],
    *,
    answering: Collection[str] | None = None,
    force: bool = False,
) -> None:
    """Check that the voters that are left keep the quorum.

    `force` lets a removal cost it. `answering` is stricter than `alive`: a dead server counts as
    alive for some seconds. None means `alive`.

    Raises:
        refused: it is the last voter, whatever `force` is.
        Error: CONFLICT, the voter is alive, and too few of those left answer.
    """
    left = [other for other in configuration.servers if other.id != server.id]
    voters = [other.id for other in left if other.voter]
    if not voters:
        standing = " ".join(f"{{Nonvoter {other.id} {other.address}}}" for other in left)
        raise refused(f"Need at least one voter in configuration: {{[{standing}]}}")
    if not server.voter or server.id not in alive or force:
        return
    living = alive if answering is None else answering
    if not keeps_quorum(voters, living):
        raise Error(
            Code.CONFLICT,
            f"removing {server.name} would cost the quorum: of {len(voters)} voters left "
            f"{sum(each in living for each in voters)} are alive and {len(voters) // 2 + 1} are "
            "needed; add ?force=true to do it anyway",
        )


def is_ip_and_port(text: str) -> bool:
    """Whether the text reads like `1.2.3.4:4647` or `[::1]:4647`."""
    host, _, port = text.rpartition(":")
    try:
        bracketed = isinstance(ipaddress.ip_address(host.strip("[]")), ipaddress.IPv6Address)
    except ValueError:
        return False
    right_brackets = host.startswith("[") == host.endswith("]") == bracketed
    return right_brackets and port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT
