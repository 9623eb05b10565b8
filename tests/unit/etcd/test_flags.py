from __future__ import annotations

import pytest

from bellcow.etcd.flags import Founding, PeerTls, Plan, command_line
from bellcow.etcd.version import CannotRun


def plan(tmp_path, **more) -> Plan:
    fields = {
        "server_id": "id-1",
        "directory": tmp_path,
        "program": "/usr/bin/etcd",
        "version": (3, 5, 21),
        "bind": "0.0.0.0:4647",
        "advertise": "10.0.0.1:4647",
        "founding": Founding(
            state="new", members=(("id-1", "10.0.0.1:4647"), ("id-2", "10.0.0.2:4647")), token="c.0"
        ),
    }
    return Plan(**(fields | more))


def pretend_data(tmp_path) -> None:
    wal = tmp_path / "data/member/wal"
    wal.mkdir(parents=True)
    (wal / "0000000000000000-0000000000000000.wal").touch()


def test_first_start_tells_who_founds_the_cluster(tmp_path):
    words = command_line(plan(tmp_path))
    assert words[0] == "/usr/bin/etcd"
    assert "--initial-cluster=id-1=http://10.0.0.1:4647,id-2=http://10.0.0.2:4647" in words
    assert "--initial-cluster-state=new" in words
    assert "--initial-cluster-token=c.0" in words


def test_start_with_data_tells_nothing_of_the_founding(tmp_path):
    pretend_data(tmp_path)
    for founding in (None, plan(tmp_path).founding):
        words = command_line(plan(tmp_path, founding=founding))
        assert [word for word in words if word.startswith("--initial-cluster")] == []


@pytest.mark.parametrize("folder", ["", "data", "data/member", "data/member/wal"])
def test_directory_without_a_log_never_wakes_up_as_a_cluster_of_one(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(CannotRun, match="join again"):
        command_line(plan(tmp_path, founding=None))


def test_clients_come_over_the_socket_and_peers_over_the_network(tmp_path):
    words = command_line(plan(tmp_path))
    assert "--listen-client-urls=unix://client.sock:0" in words
    assert "--listen-peer-urls=http://0.0.0.0:4647" in words
    assert "--initial-advertise-peer-urls=http://10.0.0.1:4647" in words


def test_multiplier_scales_both_timers(tmp_path):
    words = command_line(plan(tmp_path, raft_multiplier=5))
    assert {"--heartbeat-interval=500", "--election-timeout=5000"} <= set(words)


def test_tls_is_mutual_and_changes_every_address(tmp_path):
    tls = PeerTls(cert_file="/c", key_file="/k", ca_file="/a")
    words = command_line(plan(tmp_path, tls=tls))
    assert {"--peer-cert-file=/c", "--peer-key-file=/k", "--peer-trusted-ca-file=/a"} < set(words)
    assert "--peer-client-cert-auth" in words
    assert not [word for word in words if "http://" in word or "allowed" in word]


def test_name_that_certificates_must_have_is_told(tmp_path):
    tls = PeerTls(cert_file="/c", key_file="/k", ca_file="/a", name="server.eu.nomad")
    words = command_line(plan(tmp_path, tls=tls))
    assert "--peer-cert-allowed-hostname=server.eu.nomad" in words


def test_number_of_learners_is_told_where_etcd_knows_the_flag(tmp_path):
    assert "--max-learners=7" not in command_line(plan(tmp_path))
    assert "--max-learners=7" in command_line(plan(tmp_path, version=(3, 6, 4)))
