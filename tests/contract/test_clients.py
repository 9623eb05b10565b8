"""The public Python clients and the Prometheus parser drive a live server."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nomad
import nomadpy
import pytest
from nomad.api.exceptions import (
    BadRequestNomadException,
    BaseNomadException,
    URLNotAuthorizedNomadException,
    URLNotFoundNomadException,
)
from nomadpy import QueryOptions, UnexpectedResponseError, WriteOptions
from prometheus_client.parser import text_string_to_metric_families
from tests.harness import Agent, free_ports, until
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ_OPERATOR = 'operator { policy = "read" }'
UNKNOWN = "00000000-0000-0000-0000-000000000000"


class Served:
    """A server with ACLs on, its management token, and clients of both kinds."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.root = self.new(None).acl_tokens.bootstrap()[0]
        self.secret = self.root.secret_id

    def new(self, secret: str | None, **config: Any) -> nomadpy.Client:
        return nomadpy.Client(
            nomadpy.Config(address=self.agent.url, secret_id=secret or "", **config)
        )

    def old(self, secret: str | None, **settings: Any) -> nomad.Nomad:
        return nomad.Nomad(
            host="127.0.0.1", port=self.agent.http_port, token=secret, timeout=15, **settings
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"acl": {"enabled": True}, "telemetry": {"prometheus_metrics": True}}
    with Agent(tmp_path_factory.mktemp("clients"), settings) as agent:
        yield Served(agent)


@pytest.fixture
def py(served: Served) -> nomadpy.Client:
    return served.new(served.secret)


@pytest.fixture
def old(served: Served) -> nomad.Nomad:
    return served.old(served.secret)


def test_both_clients_speak_tls(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.sign()
    Path(pair.key).chmod(0o600)
    tls = {"http": True, "ca_file": authority.file, "cert_file": pair.cert, "key_file": pair.key}
    agent = Agent(tmp_path / "agent", {"tls": {**tls, "verify_https_client": True}})
    agent.start(wait=False)
    address = f"https://localhost:{agent.http_port}"
    trust = nomadpy.TLSConfig(ca_cert=authority.file, client_cert=pair.cert, client_key=pair.key)
    try:
        new = nomadpy.Client(nomadpy.Config(address=address, tls_config=trust))
        leader = until(lambda: quietly(new.status.leader), "a leader")
        assert leader == f"127.0.0.1:{agent.rpc_port}"
        client = nomad.Nomad(address=address, verify=authority.file, cert=(pair.cert, pair.key))
        assert client.status.leader.get_leader() == leader
        nobody = nomad.Nomad(address=address, verify=authority.file)
        with pytest.raises(BaseNomadException):
            nobody.status.leader.get_leader()
    finally:
        agent.stop()


def quietly(ask: Callable[[], Any]) -> Any:
    """What `ask` gives, None while nobody listens yet."""
    with contextlib.suppress(OSError):
        return ask()
    return None


# nomadpy: operator


def test_nomadpy_reads_the_raft_configuration(served, py):
    found = py.operator.raft_get_configuration()
    assert found.index > 0
    (server,) = found.servers
    assert server.raft_protocol == "3"
    assert server.leader is True
    assert server.voter is True
    assert server.node == "single.global"
    assert server.address == f"127.0.0.1:{served.agent.rpc_port}"
    stale = py.operator.raft_get_configuration(QueryOptions(allow_stale=True))
    assert stale == found


def test_nomadpy_gets_the_refusal_to_remove_the_last_voter(py):
    (server,) = py.operator.raft_get_configuration().servers
    for remove in (
        lambda: py.operator.raft_remove_peer_by_id(server.id),
        lambda: py.operator.raft_remove_peer_by_address(server.address),
    ):
        with pytest.raises(UnexpectedResponseError, match="Need at least one voter") as caught:
            remove()
        assert caught.value.status_code == 500


def test_nomadpy_transfers_leadership_to_the_leader_itself(py):
    (server,) = py.operator.raft_get_configuration().servers
    py.operator.raft_transfer_leadership_by_id(server.id)
    py.operator.raft_transfer_leadership_by_address(server.address)
    with pytest.raises(UnexpectedResponseError) as caught:
        py.operator.raft_transfer_leadership_by_id("nope")
    assert caught.value.status_code == 400


def test_nomadpy_changes_the_scheduler_configuration_and_back(py):
    reply, meta = py.operator.scheduler_get_configuration()
    before = reply.scheduler_config
    assert meta.last_index >= before.modify_index
    assert meta.known_leader is True
    assert meta.last_contact == timedelta(0)
    before.scheduler_algorithm = "spread"
    before.preemption_config.sys_batch_scheduler_enabled = True
    before.pause_eval_broker = True
    before.reject_job_registration = True
    before.memory_oversubscription_enabled = True
    before.node_limit_for_feasibility_checks = 7
    answer, written = py.operator.scheduler_set_configuration(before)
    assert answer.updated is True
    stored = py.operator.scheduler_get_configuration()[0].scheduler_config
    assert stored.modify_index == written.last_index
    stored.modify_index = before.modify_index
    assert stored == before
    stored.scheduler_algorithm = "binpack"
    assert py.operator.scheduler_cas_configuration(stored)[0].updated is False
    stored.modify_index = written.last_index
    assert py.operator.scheduler_cas_configuration(stored)[0].updated is True


def test_nomadpy_changes_the_autopilot_configuration_and_back(py):
    conf, _ = py.operator.autopilot_get_configuration()
    conf.last_contact_threshold = 1_500_000_000
    conf.min_quorum = 3
    conf.enable_redundancy_zones = True
    py.operator.autopilot_set_configuration(conf)
    stored, _ = py.operator.autopilot_get_configuration()
    assert stored.modify_index > conf.modify_index
    stale, stored.modify_index = stored.modify_index, conf.modify_index
    assert stored == conf
    assert py.operator.autopilot_cas_configuration(stored)[0] is False
    stored.modify_index = stale
    stored.last_contact_threshold = 200_000_000
    stored.enable_redundancy_zones = False
    assert py.operator.autopilot_cas_configuration(stored)[0] is True


def test_nomadpy_reads_the_health(py):
    (server,) = py.operator.raft_get_configuration().servers

    def healthy() -> Any:
        try:
            return py.operator.autopilot_server_health()[0]
        except UnexpectedResponseError:
            return None

    health = until(healthy, "health")
    assert (health.healthy, health.failure_tolerance) == (True, 0)
    assert (health.leader, health.voters) == (server.id, [server.id])
    (shown,) = health.servers
    assert (shown.id, shown.name, shown.address) == (server.id, server.node, server.address)
    assert (shown.serf_status, shown.leader, shown.voter) == ("alive", True, True)
    assert shown.last_contact == 0
    assert shown.stable_since.endswith("Z")


def test_nomadpy_reads_the_license_and_the_refusal_of_a_bad_one(py):
    reply, _ = py.operator.license_get()
    assert (reply.license.license_id, reply.license.product) == ("community", "nomad")
    assert "Redundancy Zones" in reply.license.features
    assert reply.license.flags == {"modules": ["governance-policy"]}
    with pytest.raises(UnexpectedResponseError, match="no license issuer is configured"):
        py.operator.apply_license("blob")


def test_nomadpy_reads_metrics_in_both_formats(py):
    summary, _ = py.operator.metrics_summary()
    assert "nomad.raft.appliedIndex" in {gauge.name for gauge in summary.gauges}
    text = py.operator.metrics(QueryOptions(params={"format": "prometheus"})).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["nomad_raft_appliedIndex"].samples
    assert sample.value > 0
    assert families["nomad_nomad_autopilot_healthy"].type == "gauge"


def test_prometheus_text_says_what_it_is(served):
    answer = served.agent.get("/v1/metrics?format=prometheus")
    assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    kinds = {family.type for family in text_string_to_metric_families(answer.text)}
    assert kinds == {"gauge", "counter", "summary"}


# nomadpy: agent, status, system


def test_nomadpy_knows_where_it_is(served, py):
    info = py.agent.self()
    assert info.member.name == "single.global"
    assert info.stats["nomad"]["leader"] == "true"
    assert info.stats["raft"]["state"] == "Leader"
    assert (py.agent.datacenter(), py.agent.region()) == ("dc1", "global")
    members = py.agent.members()
    assert (members.server_name, members.server_region, members.server_dc) == (
        "single",
        "global",
        "dc1",
    )
    (member,) = members.members
    assert (member.status, member.port) == ("alive", served.agent.serf_port)
    assert member.tags["raft_vsn"] == "3"


def test_nomadpy_asks_for_health_host_and_status(served, py):
    health = py.agent.health()
    assert health.server.ok is True
    assert health.client is None
    host = py.agent.host(server_id="leader")
    assert host.agent_id == py.agent.members().members[0].name
    assert all(disk.disk_mb >= disk.used_mb >= 0 for disk in host.host_data.disk.values())
    assert host.host_data.network
    address = f"127.0.0.1:{served.agent.rpc_port}"
    assert (py.status.leader(), py.status.peers()) == (address, [address])
    assert py.status.region_leader("global") == address
    with pytest.raises(UnexpectedResponseError, match="No path to region"):
        py.status.region_leader("mars")
    assert py.regions.list() == ["global"]


def test_nomadpy_may_force_an_unknown_server_to_leave(py):
    (closed,) = free_ports(1)
    with pytest.raises(RuntimeError, match="connection refused"):
        py.agent.join(f"127.0.0.1:{closed}")
    py.agent.force_leave("ghost")
    py.agent.force_leave("ghost", prune=True)
    py.system.garbage_collect()
    py.system.reconcile_summaries()


def test_nomadpy_finds_no_keyring_and_no_client(py):
    key = "tbLJg26ZJyJ9pK3qhc9jig=="
    for ask in (
        py.agent.list_keys,
        lambda: py.agent.install_key(key),
        lambda: py.agent.use_key(key),
        lambda: py.agent.remove_key(key),
    ):
        with pytest.raises(UnexpectedResponseError, match="1/1 nodes reported failure"):
            ask()
    for ask in (py.agent.servers, lambda: py.agent.set_servers(["127.0.0.1:4647"])):
        with pytest.raises(UnexpectedResponseError) as caught:
            ask()
        assert caught.value.status_code == 501


def test_nomadpy_is_refused_what_newer_servers_have(py):
    for ask in (
        py.operator.upgrade_check_vault_workload_identity,
        py.agent.get_scheduler_workers_info,
        py.acl_roles.list,
    ):
        with pytest.raises(UnexpectedResponseError) as caught:
            ask()
        assert caught.value.status_code == 404
    with pytest.raises(UnexpectedResponseError, match="there is no root keyring") as caught:
        py.keyring.list()
    assert caught.value.status_code == 501


def test_nomadpy_lists_no_jobs_nodes_allocations_evaluations_deployments(py):
    lists = (py.jobs, py.nodes, py.allocations, py.evaluations, py.deployments)
    for each in lists:
        found, meta = each.list()
        assert found == []
        assert meta.known_leader is True


# nomadpy: ACLs and namespaces


def test_nomadpy_manages_policies(py):
    rules = 'namespace "default" { policy = "read" }'
    written = py.acl_policies.upsert(
        nomadpy.ACLPolicy(name="py-policy", description="d", rules=rules)
    )
    info, meta = py.acl_policies.info("py-policy")
    assert (info.rules, info.description) == (rules, "d")
    assert info.modify_index == written.last_index == meta.last_index
    assert "py-policy" in {policy.name for policy in py.acl_policies.list()[0]}
    found, _ = py.acl_policies.list(QueryOptions(prefix="py-po"))
    assert [policy.name for policy in found] == ["py-policy"]
    py.acl_policies.delete("py-policy")
    with pytest.raises(UnexpectedResponseError, match="ACL policy not found"):
        py.acl_policies.info("py-policy")


def test_nomadpy_manages_tokens(served, py):
    py.acl_policies.upsert(nomadpy.ACLPolicy(name="py-read", rules=READ_OPERATOR))
    token, written = py.acl_tokens.create(
        nomadpy.ACLToken(name="t", type="client", policies=["py-read"])
    )
    assert token.create_index == token.modify_index == written.last_index
    mine = served.new(token.secret_id)
    assert mine.acl_tokens.self()[0] == token
    assert mine.operator.scheduler_get_configuration()[1].known_leader
    with pytest.raises(UnexpectedResponseError, match="Permission denied"):
        mine.operator.raft_get_configuration()
    token.name = "renamed"
    assert py.acl_tokens.update(token)[0].name == "renamed"
    assert py.acl_tokens.info(token.accessor_id)[0].secret_id == token.secret_id
    stubs, _ = py.acl_tokens.list(QueryOptions(prefix=token.accessor_id[:8]))
    assert [stub.name for stub in stubs] == ["renamed"]
    py.acl_tokens.delete(token.accessor_id)
    with pytest.raises(UnexpectedResponseError, match="ACL token not found"):
        mine.acl_tokens.self()


def test_nomadpy_bootstraps_once(served):
    with pytest.raises(UnexpectedResponseError, match="ACL bootstrap already done"):
        served.new(None).acl_tokens.bootstrap()


def test_nomadpy_bootstraps_with_a_secret_of_its_own(tmp_path):
    secret = "2b778dd9-f5f1-6f29-b4b4-9a5fa948757a"
    with Agent(tmp_path, {"acl": {"enabled": True}}) as agent:
        client = nomadpy.Client(nomadpy.Config(address=agent.url))
        token, _ = client.acl_tokens.bootstrap(bootstrap_secret=secret)
        assert token.secret_id == secret
        client.set_secret_id(secret)
        assert client.acl_tokens.self()[0].type == "management"


def test_nomadpy_manages_namespaces(py):
    written = py.namespaces.register(nomadpy.Namespace(name="py-ns", description="x"))
    info, meta = py.namespaces.info("py-ns")
    assert (info.name, info.description) == ("py-ns", "x")
    assert info.modify_index == written.last_index == meta.last_index
    assert [ns.name for ns in py.namespaces.prefix_list("py-")[0]] == ["py-ns"]
    assert {ns.name for ns in py.namespaces.list()[0]} >= {"default", "py-ns"}
    py.namespaces.delete("py-ns")
    with pytest.raises(UnexpectedResponseError, match="Namespace not found"):
        py.namespaces.info("py-ns")
    with pytest.raises(UnexpectedResponseError, match="can not delete default namespace"):
        py.namespaces.delete("default")


def test_nomadpy_sends_a_token_with_one_request_only(served):
    anonymous = served.new(None)
    with pytest.raises(UnexpectedResponseError, match="Permission denied"):
        anonymous.acl_tokens.list()
    assert anonymous.acl_tokens.list(QueryOptions(auth_token=served.secret))[0]
    anonymous.namespaces.register(
        nomadpy.Namespace(name="once"), WriteOptions(auth_token=served.secret)
    )
    with pytest.raises(UnexpectedResponseError, match="Permission denied"):
        anonymous.namespaces.delete("once")


def test_nomadpy_sends_every_option_and_is_answered(py):
    options = QueryOptions(
        region="global", namespace="default", prefix="zz", per_page=3, reverse=True, filter="x"
    )
    assert py.operator.scheduler_get_configuration(options)[1].known_leader


# nomadpy: blocking queries


def test_nomadpy_blocking_query_returns_when_a_policy_is_written(served, py):
    _, meta = py.acl_policies.list()
    options = QueryOptions(wait_index=max(1, meta.last_index), wait_time=timedelta(seconds=20))
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(py.acl_policies.list(options)))
    thread.start()
    until(lambda: blocked(served.agent, served.secret), "a blocked query")
    written = py.acl_policies.upsert(nomadpy.ACLPolicy(name="wake", rules=READ_OPERATOR))
    thread.join(10)
    (policies, woken), *_ = seen
    assert "wake" in {policy.name for policy in policies}
    assert woken.last_index == written.last_index


def test_nomadpy_blocking_query_ends_with_its_time(py):
    _, meta = py.namespaces.list()
    options = QueryOptions(
        wait_index=max(1, meta.last_index), wait_time=timedelta(milliseconds=300)
    )
    again, unchanged = py.namespaces.list(options)
    assert again
    assert unchanged.last_index == meta.last_index
    assert unchanged.request_time >= timedelta(milliseconds=300)


def blocked(agent: Agent, secret: str) -> bool:
    """Whether somebody waits on the server, as its metrics tell."""
    rows = agent.get("/v1/metrics", secret).json()["Gauges"]
    return any(r["Name"] == "nomad.nomad.blocking_queries" and r["Value"] > 0 for r in rows)


# python-nomad


def test_python_nomad_reads_the_cluster(served, old):
    address = f"127.0.0.1:{served.agent.rpc_port}"
    (server,) = old.operator.get_configuration()["Servers"]
    assert server["Address"] == address
    assert old.operator.get_configuration(stale=True)["Servers"] == [server]
    assert old.status.leader.get_leader() == address
    assert address in old.status.leader
    assert len(old.status.leader) == len(address)
    assert old.status.peers.get_peers() == [address]
    assert address in old.status.peers
    assert list(old.status.peers) == [address]
    assert old.status.peers[address] == address
    assert old.regions.get_regions() == ["global"]
    assert "global" in old.regions
    assert "mars" not in old.regions
    assert old.regions["global"] == "global"
    assert len(old.regions) == 1


def test_python_nomad_removes_no_last_voter(served, old):
    with pytest.raises(BaseNomadException) as caught:
        old.operator.delete_peer(f"127.0.0.1:{served.agent.rpc_port}")
    assert caught.value.nomad_resp.text == "Need at least one voter in configuration: {[]}"
    with pytest.raises(BaseNomadException) as caught:
        old.operator.delete_peer("1.2.3.4:4647", stale=True)
    assert "was not found in the Raft configuration" in caught.value.nomad_resp.text


def test_python_nomad_asks_the_agent(old):
    info = old.agent.get_agent()
    assert set(info) == {"config", "member", "stats"}
    assert info["config"]["NodeName"] == "single"
    members = old.agent.get_members()
    assert [member["Name"] for member in members["Members"]] == ["single.global"]
    (closed,) = free_ports(1)
    joined = old.agent.join_agent(f"127.0.0.1:{closed}")
    assert joined["num_joined"] == 0
    assert "connection refused" in joined["error"]
    assert old.agent.force_leave("ghost") == 200
    for ask in (old.agent.get_servers, lambda: old.agent.update_servers("127.0.0.1:4647")):
        with pytest.raises(BaseNomadException) as caught:
            ask()
        assert caught.value.nomad_resp.status_code == 501


def test_python_nomad_maintains_the_system_and_reads_metrics(old):
    assert old.system.initiate_garbage_collection() is True
    assert old.system.reconcile_summaries() is True
    assert list(old.metrics.get_metrics()) == [
        "Counters",
        "Gauges",
        "Points",
        "Samples",
        "Timestamp",
    ]


def test_python_nomad_manages_policies_and_tokens(served, old):
    old.acl.create_policy("old-read", {"Name": "old-read", "Rules": READ_OPERATOR})
    assert old.acl.get_policy("old-read")["RulesJSON"]["Operator"] == {"Policy": "read"}
    old.acl.update_policy("old-read", {"Name": "old-read", "Description": "d", "Rules": ""})
    assert old.acl.get_policy("old-read")["Description"] == "d"
    assert "old-read" in {policy["Name"] for policy in old.acl.get_policies()}
    token = old.acl.create_token({"Name": "o", "Type": "client", "Policies": ["old-read"]})
    mine = served.old(token["SecretID"])
    assert mine.acl.get_self_token() == token
    changed = {**token, "Name": "changed"}
    assert old.acl.update_token(token["AccessorID"], changed)["Name"] == "changed"
    assert old.acl.get_token(token["AccessorID"])["Name"] == "changed"
    assert token["AccessorID"] in {each["AccessorID"] for each in old.acl.get_tokens()}
    assert old.acl.delete_token(token["AccessorID"]) is True
    with pytest.raises(URLNotFoundNomadException):
        mine.acl.get_self_token()
    assert old.acl.delete_policy("old-read") is True
    with pytest.raises(URLNotFoundNomadException):
        old.acl.get_policy("old-read")


def test_python_nomad_manages_namespaces(old):
    old.namespace.create_namespace({"Name": "old-ns", "Description": "x"})
    old.namespace.update_namespace("old-ns", {"Name": "old-ns", "Description": "y"})
    assert old.namespace.get_namespace("old-ns")["Description"] == "y"
    assert "old-ns" in old.namespace
    assert "old-ns" in old.namespaces
    assert old.namespaces["old-ns"]["Description"] == "y"
    assert [each["Name"] for each in old.namespaces.get_namespaces(prefix="old-")] == ["old-ns"]
    assert {each["Name"] for each in old.namespaces} >= {"default", "old-ns"}
    assert len(old.namespaces) >= 2
    old.namespace.delete_namespace("old-ns")
    assert "old-ns" not in old.namespace
    assert "old-ns" not in old.namespaces


def test_python_nomad_distinguishes_its_refusals(served, old):
    with pytest.raises(URLNotAuthorizedNomadException):
        served.old(None).operator.get_configuration()
    with pytest.raises(URLNotAuthorizedNomadException):
        served.old(UNKNOWN).agent.get_agent()
    with pytest.raises(BadRequestNomadException):
        served.old(served.secret).acl.generate_bootstrap()
    with pytest.raises(URLNotFoundNomadException):
        old.job.get_job("web")
    with pytest.raises(BaseNomadException) as caught:
        old.validate.validate_job({"Job": {}})
    assert caught.value.nomad_resp.status_code == 501
    with pytest.raises(BaseNomadException) as caught:
        served.old(served.secret, region="mars").status.leader.get_leader()
    assert caught.value.nomad_resp.text == "No path to region"


def test_python_nomad_bootstraps_a_new_cluster(tmp_path):
    with Agent(tmp_path, {"acl": {"enabled": True}}) as agent:
        client = nomad.Nomad(host="127.0.0.1", port=agent.http_port)
        token = client.acl.generate_bootstrap()
        assert (token["Type"], token["Name"]) == ("management", "Bootstrap Token")


def test_python_nomad_lists_no_jobs_nodes_allocations_evaluations_deployments(old):
    assert old.jobs.get_jobs() == []
    assert old.nodes.get_nodes() == []
    assert old.allocations.get_allocations() == []
    assert old.evaluations.get_evaluations() == []
    assert old.deployments.get_deployments() == []
