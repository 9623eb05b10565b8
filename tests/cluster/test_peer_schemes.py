"""Servers whose ports were open get a key: alone at once, several by the commands of the page."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cluster.chaos.cluster import KEY, Cluster, wait_until
from tests.harness import BELLCOW, Agent
from tests.support.etcd import needs_etcd, short_directory

if TYPE_CHECKING:
    from tests.cluster.chaos.cluster import Server

pytestmark = [needs_etcd, pytest.mark.slow]
PAGE = (Path(__file__).parents[2] / "docs/operations/upgrade.md").read_text("utf-8")
PEERS = "/v1/operator/raft/configuration"


def configure(agent: Agent, **server: object) -> None:
    settings = json.loads(agent.config_path.read_text())
    settings["server"] = {"enabled": True, "engine": "etcd", **server}
    agent.config_path.write_text(json.dumps(settings))


def test_a_server_alone_gets_a_key_and_then_company() -> None:
    with short_directory() as directory:
        folder = directory.parent
        soon = {"autopilot": {"server_stabilization_time": "1s"}}
        one, two = (Agent(folder / name, soon, name=name) for name in ("one", "two"))
        try:
            configure(one, bootstrap_expect=1)
            one.start()
            one.stop()
            configure(one, encrypt=KEY)
            one.start()
            join = {"retry_join": [f"127.0.0.1:{one.serf_port}"]}
            configure(two, encrypt=KEY, server_join=join)
            two.start(wait=False)

            def both_vote() -> bool:
                servers = one.get(PEERS).json()["Servers"]
                return [each["Voter"] for each in servers] == [True, True]

            wait_until(both_vote, 40, "two voters", lambda: one.log[-3000:] + two.log[-3000:])
        finally:
            for agent in (one, two):
                if agent.process is not None:
                    agent.kill()


def ended(server: Server) -> bool:
    assert server.process is not None
    return server.process.poll() == 1


def test_several_servers_get_a_key_by_the_commands_of_the_page() -> None:
    (text,) = re.findall(r"(?ms)^## From plain ports to the key\n(.*?)^## ", PAGE)
    (recover,) = re.findall(r"(?m)^ *\$ (bellcow operator raft recover .*)$", text)
    with Cluster(3, key="") as cluster:
        cluster.start()
        cluster.wait_for_leader()
        cluster.wait_until_healthy(3)
        first = cluster.servers[0]
        assert first.request("PUT", "/v1/namespace/kept", {"Name": "kept"}).status == 200
        ids = {server.server_id() for server in cluster.servers}
        cluster.stop()
        for server in cluster.servers:
            server.key = KEY
        first.start()
        wait_until(lambda: ended(first), 30, "the end of it", cluster.tail)
        assert "From plain ports to the key" in first.log_path.read_text()

        addresses = ",".join(server.rpc_address for server in cluster.servers)
        for server in cluster.servers:
            words = shlex.split(recover)
            words = [BELLCOW, *words[1:]]
            words = [re.sub(r"10\.0\.0\..*", addresses, str(word)) for word in words]
            words = [word.replace("/var/lib/bellcow", str(server.data_dir)) for word in words]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        cluster.start()
        cluster.wait_for_leader()
        cluster.wait_until_healthy(3, timeout_s=60)
        assert {server.server_id() for server in cluster.servers} == ids
        for server in cluster.servers:
            assert server.get("/v1/namespace/kept").status == 200
