"""The operator page of the API documentation, sentence by sentence, and its sample requests by
curl, over TLS and without.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.contract.http_replay import RFC3339, UUID, members, rehashed, replaced, sums
from tests.harness import Agent, until
from tests.support.certificates import Authority

from bellcow.license.rules import issue
from bellcow.license.signature import new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

RAFT = "/v1/operator/raft/configuration"
PEER = "/v1/operator/raft/peer"
AUTOPILOT = "/v1/operator/autopilot/configuration"
HEALTH = "/v1/operator/autopilot/health"
SCHEDULER = "/v1/operator/scheduler/configuration"
LICENSE = "/v1/operator/license"
SNAPSHOT = "/v1/operator/snapshot"

AUTOPILOT_SAMPLE = {
    "CleanupDeadServers": True,
    "LastContactThreshold": "200ms",
    "MaxTrailingLogs": 250,
    "ServerStabilizationTime": "10s",
    "EnableRedundancyZones": False,
    "DisableUpgradeMigration": False,
    "EnableCustomUpgrades": False,
    "CreateIndex": 4,
    "ModifyIndex": 4,
}
SCHEDULER_SAMPLE = {
    "SchedulerAlgorithm": "spread",
    "PreemptionConfig": {
        "SystemSchedulerEnabled": True,
        "BatchSchedulerEnabled": False,
        "ServiceSchedulerEnabled": True,
    },
}
LICENSE_SAMPLE = {
    "CustomerID": "a customer",
    "ExpirationTime": "2126-06-01T14:50:16.581304556-04:00",
    "Features": ["Automated Upgrades", "Redundancy Zones"],
    "Flags": {"modules": ["governance-policy"]},
    "InstallationID": "*",
    "IssueTime": "2020-06-01T08:50:16.581304556-04:00",
    "LicenseID": "a-license",
    "Modules": ["governance-policy"],
    "Product": "nomad",
    "StartTime": "2020-06-01T08:50:16.581304556-04:00",
    "TerminationTime": "2126-07-01T14:50:16.581304556-04:00",
}
FEATURES = [
    "Automated Upgrades",
    "Enhanced Read Scalability",
    "Redundancy Zones",
    "Namespaces",
    "Resource Quotas",
    "Preemption",
    "Audit Logging",
    "Setinel Policies",
]


class Curl:
    """curl against one server, in a folder that holds the files of the page."""

    def __init__(self, agent: Agent, folder: Path, scheme: str, authority: Authority) -> None:
        self.agent, self.folder = agent, folder
        self._base = f"{scheme}://localhost:{agent.http_port}"
        self._trust = ["--cacert", authority.file] if scheme == "https" else []

    def __call__(self, path: str, *options: str) -> Sent:
        """One request; options stand where the page has them, before the address."""
        words = ["curl", "-sS", "--max-time", "20", *self._trust, "-w", "\n%{json}", *options]
        done = subprocess.run(
            [*words, self._base + path],
            cwd=self.folder,
            capture_output=True,
            check=True,
        )
        body, _, facts = done.stdout.rpartition(b"\n")
        said = json.loads(facts)
        return Sent(said["response_code"], said["content_type"] or "", body.decode())


class Sent(NamedTuple):
    status: int
    content_type: str
    body: str

    def json(self) -> Any:
        assert self.content_type == "application/json"
        return json.loads(self.body)


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """A license issuer: private and public."""
    return new_key()


@pytest.fixture(scope="module", params=["https", "http"])
def curl(request, key, tmp_path_factory) -> Iterator[Curl]:
    """A server as the page has it: TLS and Enterprise; and the same without TLS."""
    folder = tmp_path_factory.mktemp(request.param)
    authority = Authority(folder)
    pair = authority.sign()
    Path(pair.key).chmod(0o600)
    settings: dict[str, Any] = {"license": {"issuers": [key[1]]}}
    if request.param == "https":
        settings["tls"] = {
            "http": True,
            "ca_file": authority.file,
            "cert_file": pair.cert,
            "key_file": pair.key,
            "verify_https_client": False,
        }
    (folder / "nomad.license").write_text(issue(LICENSE_SAMPLE, key[0]))
    agent = Agent(folder / "agent", settings)
    if request.param == "http":
        with agent:
            yield Curl(agent, folder, request.param, authority)
        return
    agent.start(wait=False)
    client = Curl(agent, folder, request.param, authority)
    try:
        _until_it_answers(client)
        yield client
    finally:
        agent.stop()


def _until_it_answers(client: Curl) -> None:
    def leads() -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return client("/v1/status/leader").status == 200
        return False

    until(leads, "a leader")


@pytest.fixture
def fresh(start_agent) -> Agent:
    """A new server of its own."""
    return start_agent()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Agent]:
    """A server for tests that leave nothing behind."""
    with Agent(tmp_path_factory.mktemp("shared")) as agent:
        yield agent


def healthy(agent: Agent) -> Any:
    """The health answer once there is one."""

    def judged() -> Any:
        answer = agent.get(HEALTH)
        assert answer.status == 200
        return answer.json()

    return until(judged, "good health")


# Sample requests


def test_sample_read_raft_configuration(curl):
    (server,) = curl(RAFT).json()["Servers"]
    assert server["Node"] == "single.global"
    assert server["Address"] == f"127.0.0.1:{curl.agent.rpc_port}"


def test_sample_remove_raft_peer(curl):
    sent = curl(f"{PEER}?address=1.2.3.4", "--request", "DELETE")
    assert sent.status == 500
    assert sent.body == 'address "1.2.3.4" was not found in the Raft configuration'


def test_sample_read_autopilot_configuration(curl):
    shown = curl(AUTOPILOT).json()
    assert set(AUTOPILOT_SAMPLE) <= set(shown)


def test_sample_update_autopilot_configuration(curl):
    (curl.folder / "payload.json").write_text(json.dumps(AUTOPILOT_SAMPLE))
    sent = curl(AUTOPILOT, "--request", "PUT", "--data", "@payload.json")
    assert (sent.status, sent.json()) == (200, True)
    shown = curl(AUTOPILOT).json()
    unindexed = {k: v for k, v in AUTOPILOT_SAMPLE.items() if not k.endswith("Index")}
    assert {k: shown[k] for k in unindexed} == unindexed
    assert shown["ModifyIndex"] > shown["CreateIndex"]


def test_sample_read_health(curl):
    until(lambda: curl(HEALTH).status == 200, "good health")
    assert curl(HEALTH).json()["Healthy"] is True


def test_sample_read_scheduler_configuration(curl):
    shown = curl(SCHEDULER).json()
    assert set(shown) == {"Index", "KnownLeader", "LastContact", "SchedulerConfig"}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_sample_update_scheduler_configuration(curl, method):
    (curl.folder / "payload.json").write_text(json.dumps(SCHEDULER_SAMPLE))
    sent = curl(SCHEDULER, "--request", method, "--data", "@payload.json")
    shown = curl(SCHEDULER).json()
    assert sent.json() == {"Updated": True, "Index": shown["Index"]}
    assert shown["SchedulerConfig"]["SchedulerAlgorithm"] == "spread"
    assert shown["SchedulerConfig"]["PreemptionConfig"] == {
        **SCHEDULER_SAMPLE["PreemptionConfig"],
        "SysBatchSchedulerEnabled": False,
    }


def test_sample_license_get_and_put(curl):
    before = curl(LICENSE).json()
    assert set(before) == {"KnownLeader", "LastContact", "LastIndex", "License", "RequestTime"}
    sent = curl(LICENSE, "--request", "PUT", "--data", "@nomad.license")
    index = sent.json()["Index"]
    assert sent.json() == {"Index": index}
    assert index > 0
    assert curl(LICENSE).json()["License"] == LICENSE_SAMPLE


def test_sample_snapshot_and_restore(curl):
    made = curl(SNAPSHOT, "-o", "snapshot.tgz")
    assert (made.status, made.content_type) == (200, "application/x-gzip")
    files = members((curl.folder / "snapshot.tgz").read_bytes())
    assert list(files) == ["meta.json", "state.bin", "SHA256SUMS"]
    sent = curl(SNAPSHOT, "--request", "PUT", "--data-binary", "@snapshot.tgz")
    assert (sent.status, sent.content_type, sent.body) == (200, "", "")


# Methods, blocking queries and rights, as the tables have them


TABLE = [
    ("GET", RAFT, "management"),
    ("DELETE", PEER, "management"),
    ("GET", AUTOPILOT, "operator:read"),
    ("PUT", AUTOPILOT, "operator:write"),
    ("GET", HEALTH, "operator:read"),
    ("GET", SCHEDULER, "operator:read"),
    ("PUT", SCHEDULER, "operator:write"),
    ("POST", SCHEDULER, "operator:write"),
    ("GET", LICENSE, "operator:read"),
    ("PUT", LICENSE, "operator:write"),
    ("GET", SNAPSHOT, "management"),
    ("PUT", SNAPSHOT, "management"),
]
MEANS = {
    "operator:read": {"operator:read"},
    "operator:write": {"operator:read", "operator:write"},
    "management": {"operator:read", "operator:write", "management"},
    "none": set(),
}
BODIES = {AUTOPILOT: AUTOPILOT_SAMPLE, SCHEDULER: SCHEDULER_SAMPLE, LICENSE: b"x", SNAPSHOT: b"x"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[tuple[Agent, dict[str, str]]]:
    """A server with ACLs on, and a token of each right that the tables name."""
    with Agent(tmp_path_factory.mktemp("guarded"), {"acl": {"enabled": True}}) as agent:
        root = agent.bootstrap()
        secrets = {"none": "", "management": root}
        for level in ("read", "write"):
            rules = f'operator {{ policy = "{level}" }}'
            agent.put(f"/v1/acl/policy/{level}", {"Name": level, "Rules": rules}, root)
            token = {"Type": "client", "Policies": [level]}
            made = agent.put("/v1/acl/token", token, root).json()
            secrets[f"operator:{level}"] = made["SecretID"]
        yield agent, secrets


@pytest.mark.parametrize("held", MEANS)
@pytest.mark.parametrize(("method", "path", "right"), TABLE)
def test_acl_required(guarded, method, path, right, held):
    agent, secrets = guarded
    body = BODIES[path] if method in {"PUT", "POST"} else None
    answer = agent.request(method, path, body, secrets[held])
    if right in MEANS[held]:
        assert answer.status != 403
        assert answer.text != "Permission denied"
    else:
        assert (answer.status, answer.text) == (403, "Permission denied")


@pytest.mark.parametrize("path", [RAFT, AUTOPILOT, HEALTH, SCHEDULER, LICENSE, SNAPSHOT])
def test_no_operator_endpoint_blocks(shared, path):
    began = time.monotonic()
    answer = shared.get(f"{path}?index=99999999&wait=30s")
    assert answer.status in {200, 429}
    assert time.monotonic() - began < 5


METHODS = {
    RAFT: ({"GET"}, 405, ""),
    PEER: ({"DELETE"}, 404, "Invalid method"),
    AUTOPILOT: ({"GET", "PUT"}, 404, "Invalid method"),
    HEALTH: ({"GET"}, 404, "Invalid method"),
    SCHEDULER: ({"GET", "PUT", "POST"}, 405, "Invalid method"),
    LICENSE: ({"GET", "PUT"}, 405, "Invalid method"),
    SNAPSHOT: ({"GET", "PUT", "POST"}, 405, "Invalid method"),
}


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", METHODS)
def test_methods(shared, path, method):
    allowed, status, text = METHODS[path]
    answer = shared.request(method, path)
    if method in allowed:
        assert answer.text != "Invalid method"
        assert answer.status != 405
    else:
        assert answer.status == status
        assert answer.text == ("" if method == "HEAD" else text)
    assert answer.header("Allow") is None


# Raft


def test_raft_configuration_fields(shared):
    answer = shared.get(RAFT).json()
    assert set(answer) == {"Index", "Servers"}
    assert type(answer["Index"]) is int
    (server,) = answer["Servers"]
    types = {name: type(value) for name, value in server.items()}
    assert types == {
        "Address": str,
        "ID": str,
        "Leader": bool,
        "Node": str,
        "RaftProtocol": str,
        "Voter": bool,
    }
    assert UUID.fullmatch(server["ID"])
    assert server["Address"] == f"127.0.0.1:{shared.rpc_port}"
    assert (server["Leader"], server["Voter"]) == (True, True)


def test_raft_configuration_is_the_same_when_stale_is_asked_for(shared):
    assert shared.get(f"{RAFT}?stale").json() == shared.get(RAFT).json()


def test_raft_configuration_index_is_of_an_existing_change(shared):
    index = shared.get(RAFT).json()["Index"]
    last = int(shared.get("/v1/agent/self").json()["stats"]["raft"]["last_log_index"])
    assert 0 < index <= last
    told = shared.get("/v1/agent/self").json()["stats"]["raft"]["latest_configuration_index"]
    assert told == str(index)


def test_peer_is_removed_by_address_or_id_but_not_by_both(shared):
    (server,) = shared.get(RAFT).json()["Servers"]
    both = shared.delete(f"{PEER}?id={server['ID']}&address={server['Address']}")
    assert (both.status, both.text) == (400, "Must specify only one of ?id or ?address")
    assert shared.delete(PEER).status == 400
    for by in (f"id={server['ID']}", f"address={server['Address']}"):
        answer = shared.delete(f"{PEER}?{by}")
        # Found, and kept for being the last one.
        assert answer.text == "Need at least one voter in configuration: {[]}"
        assert answer.status == 500
    assert shared.get(RAFT).json()["Servers"] == [server]


# Autopilot


DEFAULTS = {
    "CleanupDeadServers": True,
    "LastContactThreshold": "200ms",
    "MaxTrailingLogs": 250,
    "ServerStabilizationTime": "10s",
    "EnableRedundancyZones": False,
    "DisableUpgradeMigration": False,
    "EnableCustomUpgrades": False,
    "MinQuorum": 0,
}
OTHERS = {
    "CleanupDeadServers": False,
    "LastContactThreshold": "1.5s",
    "MaxTrailingLogs": 17,
    "ServerStabilizationTime": "1m30s",
    "EnableRedundancyZones": True,
    "DisableUpgradeMigration": True,
    "EnableCustomUpgrades": True,
    "MinQuorum": 3,
}


def settings_of(agent: Agent, path: str = AUTOPILOT) -> dict[str, Any]:
    shown = agent.get(path).json()
    shown = shown.get("SchedulerConfig", shown)
    return {k: v for k, v in shown.items() if k not in {"CreateIndex", "ModifyIndex"}}


def test_autopilot_defaults_on_a_new_server(fresh):
    assert settings_of(fresh) == DEFAULTS
    shown = fresh.get(AUTOPILOT).json()
    assert shown["CreateIndex"] == shown["ModifyIndex"] > 0


@pytest.mark.parametrize("left_out", DEFAULTS)
def test_autopilot_field_left_out_takes_its_default(shared, left_out):
    body = {name: value for name, value in OTHERS.items() if name != left_out}
    assert shared.put(AUTOPILOT, body).json() is True
    assert settings_of(shared) == {**OTHERS, left_out: DEFAULTS[left_out]}


@pytest.mark.parametrize("field", DEFAULTS)
def test_autopilot_field_is_refused_in_another_type(shared, field):
    wrong: Any = 1 if isinstance(DEFAULTS[field], (str, bool)) else "1"
    before = shared.get(AUTOPILOT).body
    answer = shared.put(AUTOPILOT, {**OTHERS, field: wrong})
    assert answer.status == 400
    assert answer.text.startswith("Error parsing autopilot config: json: cannot unmarshal")
    assert f".{field} of type" in answer.text
    assert shared.get(AUTOPILOT).body == before


@pytest.mark.parametrize("field", ["LastContactThreshold", "ServerStabilizationTime"])
@pytest.mark.parametrize(
    ("text", "shown"), [("10s", "10s"), ("1h", "1h0m0s"), ("90s", "1m30s"), ("1.5ms", "1.5ms")]
)
def test_autopilot_durations_are_duration_values(shared, field, text, shown):
    assert shared.put(AUTOPILOT, {field: text}).json() is True
    assert shared.get(AUTOPILOT).json()[field] == shown
    assert shared.put(AUTOPILOT, {field: "10 seconds"}).status == 400


def test_autopilot_cas_writes_only_at_the_given_index(shared):
    before = shared.get(AUTOPILOT).json()
    stale = before["ModifyIndex"] - 1
    assert shared.put(f"{AUTOPILOT}?cas={stale}", OTHERS).json() is False
    assert shared.get(AUTOPILOT).json() == before
    assert shared.put(f"{AUTOPILOT}?cas=0", OTHERS).json() is False
    assert shared.put(f"{AUTOPILOT}?cas={before['ModifyIndex']}", DEFAULTS).json() is True
    after = shared.get(AUTOPILOT).json()
    assert after["ModifyIndex"] > before["ModifyIndex"]
    assert after["CreateIndex"] == before["CreateIndex"]


def test_health_fields(fresh):
    health = healthy(fresh)
    raft = fresh.get(RAFT).json()["Servers"][0]
    assert (health["Healthy"], health["FailureTolerance"]) == (True, 0)
    (server,) = health["Servers"]
    assert RFC3339.fullmatch(server.pop("StableSince"))
    assert server.pop("Version").startswith("1.0.18")
    assert server.pop("LastTerm") > 0
    assert server.pop("LastIndex") > 0
    assert server == {
        "ID": raft["ID"],
        "Name": raft["Node"],
        "Address": raft["Address"],
        "SerfStatus": "alive",
        "Leader": True,
        "LastContact": "0s",
        "Healthy": True,
        "Voter": True,
    }


def test_health_status_is_200_when_healthy_and_soon_after_a_restore(fresh):
    assert healthy(fresh)["Healthy"] is True
    assert fresh.get(HEALTH).status == 200
    archive = fresh.get(SNAPSHOT).body
    fresh.put(SNAPSHOT, archive)
    # A round of autopilot comes at once; by itself it would take two seconds.
    until(lambda: fresh.get(HEALTH).status == 200, "good health", 1.5)


# Scheduler


PREEMPTION = {
    "SystemSchedulerEnabled": True,
    "BatchSchedulerEnabled": False,
    "ServiceSchedulerEnabled": False,
    "SysBatchSchedulerEnabled": False,
}


def test_scheduler_defaults_on_a_new_server(fresh):
    shown = fresh.get(SCHEDULER).json()
    config = shown["SchedulerConfig"]
    assert config["SchedulerAlgorithm"] == "binpack"
    assert config["PreemptionConfig"] == PREEMPTION
    assert shown["Index"] == config["CreateIndex"] == config["ModifyIndex"] > 0
    assert (shown["KnownLeader"], shown["LastContact"]) == (True, 0)


@pytest.mark.parametrize("left_out", PREEMPTION)
def test_scheduler_flag_left_out_takes_its_default(shared, left_out):
    turned = {name: not value for name, value in PREEMPTION.items()}
    flags = {name: value for name, value in turned.items() if name != left_out}
    shared.put(SCHEDULER, {"SchedulerAlgorithm": "spread", "PreemptionConfig": flags})
    stored = settings_of(shared, SCHEDULER)
    assert stored["PreemptionConfig"] == {**turned, left_out: PREEMPTION[left_out]}
    assert stored["SchedulerAlgorithm"] == "spread"


def test_scheduler_algorithm_is_binpack_or_spread(shared):
    for name in ("binpack", "spread"):
        assert shared.put(SCHEDULER, {"SchedulerAlgorithm": name}).status == 200
        assert settings_of(shared, SCHEDULER)["SchedulerAlgorithm"] == name
    answer = shared.put(SCHEDULER, {"SchedulerAlgorithm": "best"})
    assert (answer.status, answer.text) == (400, "invalid scheduler algorithm: best")
    assert settings_of(shared, SCHEDULER)["SchedulerAlgorithm"] == "spread"
    for body in ({"SchedulerAlgorithm": ""}, {"PreemptionConfig": {}}):
        shared.put(SCHEDULER, {"SchedulerAlgorithm": "spread"})
        assert shared.put(SCHEDULER, body).status == 200
        assert settings_of(shared, SCHEDULER)["SchedulerAlgorithm"] == "binpack"


def test_scheduler_cas_reports_whether_it_updated(shared):
    before = shared.get(SCHEDULER).json()["SchedulerConfig"]
    lost = shared.put(f"{SCHEDULER}?cas=1", SCHEDULER_SAMPLE).json()
    assert lost["Updated"] is False
    assert lost["Index"] > before["ModifyIndex"]
    assert shared.get(SCHEDULER).json()["SchedulerConfig"] == before
    won = shared.put(f"{SCHEDULER}?cas={before['ModifyIndex']}", SCHEDULER_SAMPLE).json()
    assert won["Updated"] is True
    assert won["Index"] > lost["Index"]
    after = shared.get(SCHEDULER).json()
    assert after["Index"] == after["SchedulerConfig"]["ModifyIndex"] == won["Index"]
    assert after["SchedulerConfig"]["CreateIndex"] == before["CreateIndex"]


def test_scheduler_get_sent_back_whole_changes_nothing_but_the_index(shared):
    shared.put(SCHEDULER, SCHEDULER_SAMPLE)
    before = settings_of(shared, SCHEDULER)
    assert shared.put(SCHEDULER, shared.get(SCHEDULER).json()).json()["Updated"] is True
    assert settings_of(shared, SCHEDULER) == before


def test_default_scheduler_config_counts_at_the_first_start_only(tmp_path):
    block = {
        "scheduler_algorithm": "spread",
        "preemption_config": {"batch_scheduler_enabled": True},
    }
    agent = Agent(tmp_path, {"server": {"default_scheduler_config": block}})
    with agent:
        first = settings_of(agent, SCHEDULER)
        assert first["SchedulerAlgorithm"] == "spread"
        assert first["PreemptionConfig"] == {**PREEMPTION, "BatchSchedulerEnabled": True}
        config = json.loads(agent.config_path.read_text())
        config["server"]["default_scheduler_config"] = {"scheduler_algorithm": "binpack"}
        agent.config_path.write_text(json.dumps(config))
        agent.restart()
        assert settings_of(agent, SCHEDULER) == first


# License


@pytest.fixture
def licensed(start_agent, key) -> Agent:
    return start_agent({"license": {"issuers": [key[1]]}})


def test_new_cluster_with_issuers_runs_on_the_temporary_license(licensed):
    answer = licensed.get(LICENSE).json()
    found = answer.pop("License")
    assert answer == {"KnownLeader": False, "LastContact": 0, "LastIndex": 0, "RequestTime": 0}
    times = [
        datetime.fromisoformat(found.pop(name)[:19])
        for name in ("IssueTime", "StartTime", "ExpirationTime", "TerminationTime")
    ]
    assert times[0] == times[1]
    assert times[2] == times[3] == times[0] + timedelta(hours=6)
    assert found == {
        "CustomerID": "temporary license customer",
        "Features": FEATURES,
        "Flags": {"modules": ["governance-policy"]},
        "InstallationID": "*",
        "LicenseID": "temporary-license",
        "Modules": ["governance-policy"],
        "Product": "nomad",
    }


def test_health_log_and_self_show_that_a_license_ends_soon(licensed):
    said = licensed.get("/v1/agent/health").json()["server"]
    assert said["ok"] is True
    assert said["message"].startswith("ok, but the license is valid until ")
    assert licensed.get("/v1/agent/self").json()["stats"]["license"]["phase"] == "expiring"
    event = "event=license_expiring license=temporary-license"
    until(lambda: event in licensed.log, "word of it in the log")


def test_license_put_installs_and_survives_a_restart_and_a_restore(licensed, key):
    archive = licensed.get(SNAPSHOT).body
    answer = licensed.put(LICENSE, issue(LICENSE_SAMPLE, key[0]).encode())
    assert answer.header("X-Nomad-Index") == str(answer.json()["Index"])
    assert licensed.get(LICENSE).json()["License"] == LICENSE_SAMPLE
    licensed.restart()
    assert licensed.get(LICENSE).json()["License"] == LICENSE_SAMPLE
    with_it = licensed.get(SNAPSHOT).body
    assert licensed.put(SNAPSHOT, archive).status == 200
    assert licensed.get(LICENSE).json()["License"]["LicenseID"] == "temporary-license"
    assert licensed.put(SNAPSHOT, with_it).status == 200
    assert licensed.get(LICENSE).json()["License"] == LICENSE_SAMPLE


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ExpirationTime": "2021-01-01T00:00:00Z"}, "the license expired on"),
        (
            {"StartTime": "2100-01-01T00:00:00Z", "IssueTime": "2100-01-01T00:00:00Z"},
            "the license is not valid before",
        ),
        ({"InstallationID": "another"}, "the license is for installation another"),
    ],
)
def test_license_that_is_not_for_here_and_now_is_refused(licensed, key, changed, said):
    before = licensed.get(LICENSE).json()
    answer = licensed.put(LICENSE, issue({**LICENSE_SAMPLE, **changed}, key[0]).encode())
    assert answer.status == 400
    assert said in answer.text
    assert licensed.get(LICENSE).json() == before


def test_license_of_an_unknown_issuer_or_without_one_is_refused(licensed):
    stranger, _ = new_key()
    for blob in (issue(LICENSE_SAMPLE, stranger).encode(), b"blob", b"", b"a.b.c"):
        answer = licensed.put(LICENSE, blob)
        assert answer.status == 400
        assert "license" in answer.text
    assert licensed.get(LICENSE).json()["License"]["LicenseID"] == "temporary-license"


# Snapshots


def test_snapshot_is_a_gzipped_tar_covered_by_sha_256(shared):
    answer = shared.get(SNAPSHOT)
    assert answer.header("Content-Type") == "application/x-gzip"
    files = members(answer.body)
    listed = sorted(files["SHA256SUMS"].splitlines())
    assert listed == sorted(sums(files).splitlines())
    assert {"ID", "Index", "Term", "Version", "Size"} <= set(json.loads(files["meta.json"]))
    assert shared.get(f"{SNAPSHOT}?stale").status == 200


def test_snapshot_hashes_are_verified_on_restore(shared):
    good = shared.get(SNAPSHOT).body
    before = shared.get(AUTOPILOT).body
    changed = replaced(good, state=members(good)["state.bin"] + b"x")
    answer = shared.put(SNAPSHOT, changed)
    assert answer.status == 500
    assert 'hash check failed for "state.bin"' in answer.text
    assert shared.get(AUTOPILOT).body == before
    assert shared.put(SNAPSHOT, rehashed(good)).status == 200


def test_snapshot_holds_all_state_and_restores_into_a_fresh_cluster(start_agent):
    acl = {"acl": {"enabled": True}}
    old, new = start_agent(acl, name="old"), start_agent(acl, name="new")
    root = old.bootstrap()
    rules = 'node { policy = "read" }'
    old.put("/v1/acl/policy/p", {"Name": "p", "Rules": rules}, root)
    old.put("/v1/namespace", {"Name": "n", "Description": "d"}, root)
    old.put(AUTOPILOT, OTHERS, root)
    old.put(SCHEDULER, SCHEDULER_SAMPLE, root)
    archive = old.get(SNAPSHOT, root).body
    assert new.put(SNAPSHOT, archive, new.bootstrap()).status == 200
    for path in (
        AUTOPILOT,
        "/v1/acl/policies",
        "/v1/acl/tokens",
        "/v1/acl/token/self",
        "/v1/namespaces",
    ):
        assert new.get(path, root).json() == old.get(path, root).json()
    both = [agent.get(SCHEDULER, root).json()["SchedulerConfig"] for agent in (old, new)]
    assert both[0] == both[1]
    # Who the servers are is not part of it.
    (server,) = new.get(RAFT, root).json()["Servers"]
    assert (server["Node"], server["Address"]) == ("new.global", f"127.0.0.1:{new.rpc_port}")


def test_snapshot_sent_as_a_form_gets_a_hint(shared):
    answer = shared.put(
        SNAPSHOT,
        b"archive=%1f%8b",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status == 500
    assert "--data-binary" in answer.text
