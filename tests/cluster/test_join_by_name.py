"""Three servers that know each other by one name, which has an address for each of them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.harness import Agent, free_ports, until
from tests.support.etcd import short_directory

if TYPE_CHECKING:
    from pathlib import Path

KEY = "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
IN_A_MOUNT_OF_ITS_OWN = 'mount --bind "$0" /etc/hosts && exec "$@"'
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="gives the servers a hosts file of their own, which takes root and unshare",
)


def agent(folder: Path, host: str, rpc: int, serf: int) -> Agent:
    hosts = str(folder / "hosts")
    return Agent(
        folder / host,
        {
            "bind_addr": host,
            "addresses": {"http": "127.0.0.1"},
            "ports": {"rpc": rpc, "serf": serf},
            "advertise": {"rpc": host, "serf": host},
            "server": {
                "bootstrap_expect": 3,
                "encrypt": KEY,
                "server_join": {"retry_join": [f"nomad-servers:{serf}"]},
            },
        },
        name=f"s{host[-1]}",
        prefix=("unshare", "--mount", "sh", "-c", IN_A_MOUNT_OF_ITS_OWN, hosts),
    )


@needs_root
def test_three_servers_that_know_one_name_for_all_of_them_are_one_cluster():
    rpc, serf = free_ports(2)
    with short_directory() as made:
        folder = made.parent
        lines = ["127.0.0.1 localhost", *(f"{host} nomad-servers" for host in HOSTS)]
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        agents = [agent(folder, host, rpc, serf) for host in HOSTS]
        try:
            for each in agents:
                each.start(wait=False)
            for each in agents:
                each.wait()
            until(lambda: len(agents[0].get("/v1/status/peers").json()) == 3, "three peers")
        finally:
            for each in agents:
                each.kill()
