"""Real servers between which one port alone is cut, and mended again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.cluster.chaos.cluster import Cluster, wait_until
from tests.cluster.chaos.wires import can_have_namespaces
from tests.support.etcd import needs_etcd

if TYPE_CHECKING:
    from tests.cluster.chaos.cluster import Server

pytestmark = [pytest.mark.slow, needs_etcd]

REMOVED_S = 60.0


def rule(verb: str, place: Server, *to: str) -> None:
    """Lose what goes from here to port 4648, of that address or of any."""
    words = ("priority", "100", *to, "ipproto", "tcp", "dport", "4648", "blackhole")
    command = ["ip", "-n", place.place.namespace, "rule", verb, *words]
    subprocess.run(command, check=True, capture_output=True)


def cut(verb: str, server: Server, others: list[Server]) -> None:
    """Cut a server's port to and from the others (`add`), or mend it (`del`)."""
    rule(verb, server)
    for other in others:
        rule(verb, other, "to", server.place.server_ip)


@pytest.mark.skipif(not can_have_namespaces(), reason="network namespaces need root and ip")
def test_voter_whose_port_of_hello_was_cut_votes_again_by_itself():
    with Cluster() as cluster:
        cluster.start()
        leader = cluster.wait_for_leader()
        cluster.wait_until_healthy(3)
        server = next(each for each in cluster.servers if each is not leader)
        others = [each for each in cluster.servers if each is not server]
        cut("add", server, others)
        wait_until(
            lambda: any("server_removed" in each.log_path.read_text() for each in others),
            REMOVED_S,
            "the removal",
            cluster.tail,
        )
        cut("del", server, others)
        cluster.wait_until_healthy(3)
