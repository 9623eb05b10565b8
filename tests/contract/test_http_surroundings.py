"""What surrounds the operator routes: the log stream, namespaces, bootstrap, leadership transfer,
limits of bodies, warnings, metrics.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness import Agent, until
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTOPILOT = "/v1/operator/autopilot/configuration"
SCHEDULER = "/v1/operator/scheduler/configuration"
TRANSFER = "/v1/operator/raft/transfer-leadership"
MONITOR = "/v1/agent/monitor"
BOOTSTRAP = "/v1/acl/bootstrap"
UNKNOWN = "00000000-0000-0000-0000-000000000000"
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Agent]:
    """A server without ACLs."""
    with Agent(tmp_path_factory.mktemp("shared")) as agent:
        yield agent


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[tuple[Agent, str]]:
    """A server with ACLs, and its management token."""
    with Agent(tmp_path_factory.mktemp("guarded"), {"acl": {"enabled": True}}) as agent:
        yield agent, agent.bootstrap()


# The log


class Stream:
    """An answer that goes on, read line by line or frame by frame."""

    def __init__(self, agent: Agent, query: str = "", token: str = "", method: str = "GET") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=15)
        headers = {"X-Nomad-Token": token} if token else {}
        self._connection.request(method, MONITOR + query, headers=headers)
        self.response = self._connection.getresponse()
        self._rest = ""

    def close(self) -> None:
        self.response.close()
        self._connection.close()

    def lines(self) -> Iterator[str]:
        while piece := self.response.readline():
            yield piece.decode()

    def frames(self) -> Iterator[dict[str, Any]]:
        decoder = json.JSONDecoder()
        while piece := self.response.read1(65536):
            self._rest += piece.decode()
            while self._rest:
                frame, end = decoder.raw_decode(self._rest)
                self._rest = self._rest[end:]
                yield frame


def save(agent: Agent, token: str = "") -> None:
    """Something that is logged at level INFO."""
    assert agent.get("/v1/operator/snapshot", token).status == 200


def saved_line(stream: Stream) -> str:
    """The line about it; the server may have had something else to say before."""
    return next(line for line in stream.lines() if "snapshot saved" in line)


def test_monitor_sends_frames_with_the_text_in_base64(shared):
    with contextlib.closing(Stream(shared)) as stream:
        assert stream.response.getheader("Content-Type") == "application/json"
        save(shared)
        for frame in stream.frames():
            assert set(frame) == {"Data"}
            line = base64.b64decode(frame["Data"]).decode()
            assert line.endswith("\n")
            if "[INFO]  nomad.snapshot: snapshot saved: " in line:
                return
    raise AssertionError("the stream ended without the line")


def test_monitor_sends_bare_lines_when_asked_for_plain(shared):
    with contextlib.closing(Stream(shared, "?plain=true")) as stream:
        assert stream.response.getheader("Content-Type") == "text/plain"
        save(shared)
        assert saved_line(stream)


def test_monitor_sends_json_lines_when_asked_for(shared):
    with contextlib.closing(Stream(shared, "?plain=true&log_json=true")) as stream:
        save(shared)
        record = json.loads(saved_line(stream))
        assert record["@message"] == "snapshot saved"
        assert record["@level"] == "info"


def test_monitor_leaves_out_what_is_below_the_level(shared):
    with contextlib.closing(Stream(shared, "?plain=true&log_level=warn")) as stream:
        save(shared)
        shared.get("/v1/operator/raft/configuration?region=mars")
        stream.response.fp.raw._sock.settimeout(0.5)  # type: ignore[union-attr]
        with pytest.raises(TimeoutError):
            next(stream.lines())


def test_monitor_goes_below_the_level_of_the_agent(start_agent):
    agent = start_agent({"log_level": "ERROR"})
    with contextlib.closing(Stream(agent, "?plain=true&log_level=DEBUG")) as stream:
        save(agent)
        assert saved_line(stream)
    assert "snapshot saved" not in agent.log


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_monitor_takes_any_method_and_this_server_by_name(shared, method):
    (member,) = shared.get("/v1/agent/members").json()["Members"]
    for name in ("", member["Name"], member["Tags"]["id"], "leader"):
        with contextlib.closing(Stream(shared, f"?server_id={name}", method=method)) as stream:
            assert stream.response.status == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("log_level=bogus", "Unknown log level: bogus"),
        (
            "plain=maybe",
            'Unknown option for plain: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "log_json=maybe",
            'Unknown option for log json: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "plain=%22%0A",
            r'Unknown option for plain: strconv.ParseBool: parsing "\"\n": invalid syntax',
        ),
        ("server_id=nope", "unknown Nomad server nope"),
        ("server_id=single", "unknown Nomad server single"),
        ("server_id=a&node_id=b", "Cannot target node and server simultaneously"),
    ],
)
def test_monitor_refuses_bad_parameters(guarded, query, said):
    agent, root = guarded
    answer = agent.get(f"{MONITOR}?{query}", root)
    assert (answer.status, answer.text) == (400, said)
    # Stricter than the real one, which tells the parameters to anybody.
    assert agent.get(f"{MONITOR}?{query}").status == 403


# Debugging

HOST = "/v1/agent/host"
PPROF = "/v1/agent/pprof"


@pytest.fixture(scope="module")
def debugged(tmp_path_factory) -> Iterator[Agent]:
    """A server without ACLs that `enable_debug` opens, its node name `single`."""
    with Agent(tmp_path_factory.mktemp("debugged"), {"enable_debug": True}) as agent:
        yield agent


@pytest.mark.parametrize("path", [HOST, f"{PPROF}/cmdline"])
def test_debug_routes_without_acls_are_opened_by_enable_debug_alone(shared, debugged, path):
    answer = shared.get(path)
    assert (answer.status, answer.text) == (403, "Permission denied")
    assert debugged.get(path).status == 200


@pytest.mark.parametrize("path", [HOST, f"{PPROF}/cmdline"])
def test_debug_routes_answer_for_the_server_that_is_named(debugged, path):
    assert debugged.get(f"{path}?server_id=single.global").status == 200
    assert debugged.get(f"{path}?server_id=leader").status == 200
    for name in ("nope", "single"):
        answer = debugged.get(f"{path}?server_id={name}")
        assert (answer.status, answer.text) == (500, f"unknown Nomad server {name}")
    node = "12345678-abcd-efab-cdef-123456789abc"
    answer = debugged.get(f"{path}?node_id={node}")
    assert (answer.status, answer.text) == (404, f'Unknown node "{node}"')


def test_host_data_stand_alone_unless_a_server_is_named(debugged):
    alone = debugged.get(HOST).json()
    named = debugged.get(f"{HOST}?server_id=single.global").json()
    assert named["AgentID"] == "single.global"
    assert set(named) == {"AgentID", "HostData"}
    assert set(alone) == set(named["HostData"])
    assert alone["Hosts"] == Path("/etc/hosts").read_text("utf-8", "replace")
    assert alone["ResolvConf"] == Path("/etc/resolv.conf").read_text("utf-8", "replace")


def test_command_line_of_the_process_is_shown(debugged):
    words = debugged.get(f"{PPROF}/cmdline").text.split("\0")
    assert words[1:] == ["agent", f"-config={debugged.config_path}"]


@pytest.mark.parametrize(
    ("profile", "status", "said"),
    [
        ("", 404, "Invalid method"),
        ("heap?debug=1", 501, '"heap" is a profile of the Go runtime'),
        ("profile?seconds=1", 501, '"profile" is a profile of the Go runtime'),
        ("nope", 404, "Pprof profile not found profile: nope"),
    ],
)
def test_profiles_of_another_runtime_are_refused_in_words(debugged, profile, status, said):
    answer = debugged.get(f"{PPROF}/{profile}")
    assert answer.status == status
    assert answer.text.startswith(said)


def test_agent_shows_where_consul_and_vault_would_be(shared):
    """The newest `nomad operator debug` stops with a panic without these."""
    config = shared.get("/v1/agent/self").json()["config"]
    for part in ("Consul", "Vault"):
        assert isinstance(config[part]["Addr"], str)
        assert config[part]["Token"] == ""
    assert config["Consul"]["EnableSSL"] is False
    assert config["Consul"]["Auth"] == ""


def test_monitor_ends_within_a_second_when_its_token_is_deleted(guarded):
    agent, root = guarded
    agent.put("/v1/acl/policy/r", {"Name": "r", "Rules": 'agent { policy = "read" }'}, root)
    token = agent.put("/v1/acl/token", {"Type": "client", "Policies": ["r"]}, root).json()
    with contextlib.closing(Stream(agent, token=token["SecretID"])) as stream:
        agent.delete(f"/v1/acl/token/{token['AccessorID']}", root)
        began = time.monotonic()
        assert b"Data" not in stream.response.read()
        assert time.monotonic() - began < 1


def test_monitor_ends_when_the_server_stops(start_agent):
    agent = start_agent()
    with contextlib.closing(Stream(agent, "?plain=true")) as stream:
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 3  # it is not waited for as for an answer
        with contextlib.suppress(ConnectionResetError, http.client.IncompleteRead):
            stream.response.read()


def test_monitor_lets_go_of_a_client_that_went_away(shared):
    def files() -> float:
        rows = shared.get("/v1/metrics").json()["Gauges"]
        return next(r["Value"] for r in rows if r["Name"] == "nomad.runtime.open_files")

    before = files()
    for _ in range(10):
        stream = Stream(shared)
        stream._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        stream.close()
    until(lambda: files() <= before + 2, "files that are closed")


# Namespaces


def test_default_namespace_always_exists(shared):
    answer = shared.get("/v1/namespace/default")
    found = answer.json()
    assert found["Name"] == "default"
    assert found["Description"] == "Default shared namespace"
    assert found["Quota"] == ""
    assert (found["Capabilities"], found["Meta"]) == (None, None)
    assert set(found) == {
        *("Capabilities", "CreateIndex", "Description", "Hash"),
        *("Meta", "ModifyIndex", "Name", "Quota"),
    }
    assert answer.header("X-Nomad-Index") == str(found["ModifyIndex"])
    gone = shared.delete("/v1/namespace/default")
    assert (gone.status, gone.text) == (500, "can not delete default namespace")


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("path", ["/v1/namespace", "/v1/namespace/made"])
def test_namespace_is_written_and_deleted(shared, method, path):
    answer = shared.request(method, path, {"Name": "made", "Description": "x"})
    index = answer.header("X-Nomad-Index")
    assert (answer.status, answer.body) == (200, b"")
    found = shared.get("/v1/namespace/made").json()
    assert (found["Description"], str(found["ModifyIndex"])) == ("x", index)
    gone = shared.delete("/v1/namespace/made")
    assert (gone.status, gone.body) == (200, b"")
    assert int(gone.header("X-Nomad-Index") or 0) > int(index or 0)
    assert shared.get("/v1/namespace/made").status == 404


def test_meta_and_capabilities_of_a_namespace_are_kept_and_returned(start_agent):
    agent = start_agent()
    capabilities = {
        "DisabledNetworkModes": ["host"],
        "DisabledTaskDrivers": None,
        "EnabledNetworkModes": None,
        "EnabledTaskDrivers": ["docker", "exec"],
    }
    body = {"Name": "kept", "Meta": {"owner": "a: b"}, "Capabilities": capabilities}
    assert agent.put("/v1/namespace/kept", body).header("Warning") is None
    kept = agent.get("/v1/namespace/kept").json()
    assert (kept["Meta"], kept["Capabilities"]) == ({"owner": "a: b"}, capabilities)
    assert kept in agent.get("/v1/namespaces").json()
    archive = agent.get("/v1/operator/snapshot").body
    agent.put("/v1/namespace/kept", {"Name": "kept"})
    emptied = agent.get("/v1/namespace/kept").json()
    assert (emptied["Meta"], emptied["Capabilities"]) == (None, None)
    assert emptied["Hash"] != kept["Hash"]
    assert agent.put("/v1/operator/snapshot", archive).status == 200
    assert agent.get("/v1/namespace/kept").json() == kept
    agent.restart()
    assert agent.get("/v1/namespace/kept").json() == kept


@pytest.mark.parametrize("meta", [{"a": 1}, ["a"], {"a": {"b": "c"}}])
def test_meta_of_a_namespace_holds_texts_alone(shared, meta):
    answer = shared.put("/v1/namespace", {"Name": "typed", "Meta": meta})
    assert answer.status == 500
    assert answer.text.startswith("json: cannot unmarshal ")
    assert answer.text.endswith("of type map[string]string")


@pytest.mark.parametrize("part", ["Consul", "NodePool", "Vault"])
def test_what_a_namespace_may_hold_in_the_enterprise_edition_alone_is_refused(shared, part):
    key = f"{part}Configuration"
    answer = shared.put("/v1/namespace", {"Name": "more", key: {"Default": "", "Denied": ["x"]}})
    assert answer.status == 400
    assert answer.text == f"{key} of a namespace is not supported; leave it out"
    assert shared.get("/v1/namespace/more").status == 404
    for empty in (None, {}, {"Default": "", "Allowed": None, "Denied": None}):
        answer = shared.put("/v1/namespace", {"Name": "less", key: empty})
        assert (answer.status, answer.header("Warning")) == (200, None)
    assert shared.delete("/v1/namespace/less").status == 200


def test_namespace_with_a_quota_that_does_not_exist_is_refused(shared):
    for path in ("/v1/namespace", "/v1/namespace/q1"):
        answer = shared.put(path, {"Name": "q1", "Quota": "nope"})
        assert answer.status == 500
        assert answer.text == 'namespace "q1" using non-existent quota "nope"'
    assert shared.get("/v1/namespace/q1").status == 404


def test_unknown_namespace_is_404_with_the_headers_of_a_read(shared):
    answer = shared.get("/v1/namespace/nope")
    assert (answer.status, answer.text) == (404, "Namespace not found")
    assert int(answer.header("X-Nomad-Index") or 0) > 0
    assert answer.header("X-Nomad-KnownLeader") == "true"
    assert answer.header("X-Nomad-LastContact") == "0"
    assert shared.delete("/v1/namespace/nope").status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (
            "/v1/namespace/a",
            {"Name": "b"},
            400,
            "Namespace name does not match request path",
        ),
        ("/v1/namespace", None, 500, "Request body is empty"),
        ("/v1/namespace/a", b"", 500, "Request body is empty"),
        (
            "/v1/namespace",
            b"{bad",
            500,
            "invalid character 'b' looking for beginning of object key string",
        ),
        (
            "/v1/namespace",
            {"Name": "a b"},
            500,
            (
                'Invalid namespace "a b": 1 error occurred:\n\t* invalid name "a b". '
                "Must match regex ^[a-zA-Z0-9-]{1,128}$\n\n"
            ),
        ),
        (
            "/v1/namespace",
            {"Name": "a", "Description": "d" * 257},
            500,
            'Invalid namespace "a": 1 error occurred:\n\t* description longer than 256\n\n',
        ),
        (
            "/v1/namespace",
            {"Name": "", "Description": "d" * 257},
            500,
            (
                'Invalid namespace "": 2 errors occurred:\n\t* invalid name "". '
                "Must match regex ^[a-zA-Z0-9-]{1,128}$\n\t* description longer than 256\n\n"
            ),
        ),
    ],
)
def test_namespace_is_refused_with_the_reason(shared, path, body, status, said):
    answer = shared.put(path, body)
    assert (answer.status, answer.text) == (status, said)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/namespaces"), ("GET", "/v1/namespace"), ("PATCH", "/v1/namespace/default")],
)
def test_namespace_refuses_other_methods(shared, method, path):
    answer = shared.request(method, path)
    assert (answer.status, answer.text) == (405, "Invalid method")


def test_namespaces_are_sorted_and_filtered_by_prefix(shared):
    for name in ("zeta", "alpha", "alps"):
        shared.put("/v1/namespace", {"Name": name})
    names = [each["Name"] for each in shared.get("/v1/namespaces").json()]
    assert names == sorted(names)
    found = [each["Name"] for each in shared.get("/v1/namespaces?prefix=al").json()]
    assert found == ["alpha", "alps"]
    for name in ("zeta", "alpha", "alps"):
        shared.delete(f"/v1/namespace/{name}")


# Bootstrap


def test_bootstrap_reset_file_is_taken_once_and_removed(start_agent):
    agent = start_agent({"acl": {"enabled": True}})
    file = agent.data_dir / "server" / "acl-bootstrap-reset"
    first = agent.put(BOOTSTRAP).json()
    done = f"ACL bootstrap already done (reset index: {first['CreateIndex']})"
    assert agent.put(BOOTSTRAP).text == done
    file.write_text("5")
    wrong = agent.put(BOOTSTRAP)
    index = first["CreateIndex"]
    assert wrong.text == f"Invalid bootstrap reset index (specified 5, reset index: {index})"
    assert wrong.status == 400
    assert file.exists()
    file.write_text(f"{index} # note\n")
    second = agent.put(BOOTSTRAP).json()
    assert not file.exists()
    assert second["SecretID"] != first["SecretID"]
    for secret in (first["SecretID"], second["SecretID"]):
        assert agent.get("/v1/acl/tokens", secret).status == 200
    again = agent.put(BOOTSTRAP)
    assert again.text == f"ACL bootstrap already done (reset index: {second['CreateIndex']})"


@pytest.mark.parametrize("text", ["", "abc", "-1", "99999999999999999999999"])
def test_bootstrap_reset_file_without_a_number_opens_nothing(tmp_path, text):
    with Agent(tmp_path, {"acl": {"enabled": True}}) as agent:
        agent.bootstrap()
        (agent.data_dir / "server" / "acl-bootstrap-reset").write_text(text)
        answer = agent.put(BOOTSTRAP)
        assert answer.status == 400
        assert answer.text.startswith("Invalid bootstrap reset index")


def test_bootstrap_takes_a_secret_of_the_operator(start_agent):
    agent = start_agent({"acl": {"enabled": True}})
    for bad in ("x", UNKNOWN[:-1], f"{UNKNOWN}0"):
        assert agent.put(BOOTSTRAP, {"BootstrapSecret": bad}).status == 400
    secret = "2b778dd9-f5f1-6f29-b4b4-9a5fa948757a"
    made = agent.put(BOOTSTRAP, {"BootstrapSecret": secret})
    assert made.json()["SecretID"] == secret
    assert made.header("X-Nomad-Index") == str(made.json()["CreateIndex"])
    assert agent.get("/v1/acl/token/self", secret).json() == made.json()


@pytest.mark.parametrize("body", [None, b"", b"{}", b"null", b'{"Other":1}'])
def test_bootstrap_takes_a_body_that_says_nothing(tmp_path, body):
    with Agent(tmp_path, {"acl": {"enabled": True}}) as agent:
        assert agent.put(BOOTSTRAP, body).status == 200


# Leadership transfer


def test_transfer_to_the_leader_itself_is_no_transfer(shared):
    (server,) = shared.get("/v1/operator/raft/configuration").json()["Servers"]
    peer = {"Address": server["Address"], "ID": server["ID"]}
    for method in ("PUT", "POST"):
        for query in (f"id={server['ID']}", f"address={server['Address']}"):
            answer = shared.request(method, f"{TRANSFER}?{query}")
            assert answer.status == 200
            assert answer.json() == {"Err": None, "From": peer, "Noop": True, "To": peer}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "must specify id or address"),
        (f"?id={UNKNOWN}&address=127.0.0.1:1", "must specify either id or address"),
        ("?id=", "id must be non-empty"),
        ("?address=", "address must be non-empty"),
        (f"?id={UNKNOWN}&id={UNKNOWN}", "must specify only one id"),
        ("?address=127.0.0.1:1&address=127.0.0.1:2", "must specify only one address"),
        (f"?id={UNKNOWN}", f'id "{UNKNOWN}" was not found in the Raft configuration'),
        (
            "?address=127.0.0.1:1",
            'address "127.0.0.1:1" was not found in the Raft configuration',
        ),
    ],
)
def test_transfer_is_refused_with_the_reason(shared, query, said):
    answer = shared.put(f"{TRANSFER}{query}")
    assert (answer.status, answer.text) == (400, said)


@pytest.mark.parametrize(
    ("query", "begins"),
    [
        ("?id=nope", "id must be a uuid: "),
        ("?address=1.2.3.4", "address must be in IP:port format"),
    ],
)
def test_transfer_refuses_what_cannot_be_a_server(shared, query, begins):
    answer = shared.put(f"{TRANSFER}{query}")
    assert answer.status == 400
    assert answer.text.startswith(begins)


def test_transfer_refuses_other_methods(shared):
    for method in ("GET", "DELETE"):
        assert shared.request(method, TRANSFER).status == 405


# Bodies of settings


@pytest.mark.parametrize("path", [AUTOPILOT, SCHEDULER])
def test_body_of_settings_may_have_a_mebibyte_and_no_more(shared, path):
    begin = b'{"CreateIndex":1'
    fits = begin + b" " * (MEBIBYTE - len(begin) - 1) + b"}"
    for chunked in (False, True):
        assert shared.put(path, fits, chunked=chunked).status == 200
        answer = shared.put(path, fits + b" ", chunked=chunked)
        assert answer.status == 413
        assert answer.text == f"request body is larger than {MEBIBYTE} bytes"


@pytest.mark.parametrize("path", [AUTOPILOT, SCHEDULER])
def test_unknown_keys_are_named_and_a_body_of_them_alone_is_refused(shared, path):
    before = shared.get(path).body
    answer = shared.put(path, {"Bogus": 1, "Other": {"x": 2}})
    assert answer.status == 400
    assert "Bogus, Other" in answer.text
    assert "CreateIndex" in answer.text
    assert shared.get(path).body == before
    beside = shared.put(path, {"CreateIndex": 1, "Bogus": 1})
    assert beside.status == 200
    assert beside.header("Warning") == '299 - "unknown keys ignored: Bogus"'
    assert shared.put(path, {"CreateIndex": 1}).header("Warning") is None


def test_unknown_key_cannot_break_out_of_the_warning(shared):
    body = {"CreateIndex": 1, 'a"\r\nX-Evil: 1': 1}
    answer = shared.put(AUTOPILOT, body)
    assert answer.status == 200
    assert answer.header("X-Evil") is None
    assert "X-Evil" in (answer.header("Warning") or "")


@pytest.mark.parametrize("path", [AUTOPILOT, SCHEDULER])
def test_null_body_changes_nothing(shared, path):
    before = shared.get(path).body
    assert shared.put(path, b"null").status == 400
    assert shared.get(path).body == before


# Metrics, health, force-leave


def test_metrics_in_prometheus_form_must_be_switched_on(shared):
    answer = shared.get("/v1/metrics?format=prometheus")
    assert (answer.status, answer.text) == (415, "Prometheus is not enabled")


def test_metrics_may_ask_for_a_token(start_agent):
    settings = {"acl": {"enabled": True}, "telemetry": {"metrics_require_token": True}}
    agent = start_agent(settings)
    root = agent.bootstrap()
    assert agent.get("/v1/metrics").status == 403
    assert agent.get("/v1/metrics", root).status == 200


def test_metrics_show_the_host_unless_it_is_switched_off(shared, start_agent):
    labels = {tuple(row["Labels"]) for row in shared.get("/v1/metrics").json()["Gauges"]}
    assert labels == {("host",)}
    quiet = start_agent({"telemetry": {"disable_hostname": True}})
    assert all(not row["Labels"] for row in quiet.get("/v1/metrics").json()["Gauges"])


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("", 200, '{"server":{"message":"ok","ok":true}}'),
        ("?type=server", 200, '{"server":{"message":"ok","ok":true}}'),
        ("?type=bogus", 200, "{}"),
        ("?type=client", 500, '{"client":{"ok":false,"message":"client not enabled"}}'),
        (
            "?type=client&type=server",
            500,
            (
                '{"client":{"ok":false,"message":"client not enabled"},'
                '"server":{"ok":true,"message":"ok"}}'
            ),
        ),
    ],
)
def test_agent_health(shared, query, status, body):
    answer = shared.get(f"/v1/agent/health{query}")
    assert (answer.status, answer.text) == (status, body)
    kind = "application/json" if status == 200 else "text/plain; charset=utf-8"
    assert answer.header("Content-Type") == kind


def test_force_leave_and_join_check_their_parameters(shared):
    answer = shared.put("/v1/agent/force-leave")
    assert (answer.status, answer.text) == (400, "missing node to force leave")
    answer = shared.put("/v1/agent/force-leave?node=a&prune=maybe")
    assert (answer.status, answer.text) == (400, "invalid prune value")
    answer = shared.put("/v1/agent/join")
    assert (answer.status, answer.text) == (400, "missing address to join")


def test_join_at_the_port_of_http_says_which_port_is_meant(shared):
    address = shared.url.removeprefix("http://")
    host = address.partition(":")[0]
    wanted = (
        f"1 error occurred:\n\t* Failed to join {host}: {address}: no server port answers there "
        "(404); it is 4648 unless ports say otherwise\n\n"
    )
    path = f"/v1/agent/join?address={address}"
    # The number is missing where the answer takes more than a second.
    until(lambda: shared.put(path).json()["error"] == wanted, "the refusal with its number")


@pytest.mark.parametrize(
    "greeting",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",  # of TLS, to who does not speak it
        b"SSH-2.0-OpenSSH_9.2p1 secret\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
    ],
)
def test_join_where_something_else_answers_repeats_nothing_of_it(shared, greeting):
    def hang_up(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.sendall(greeting)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        other = threading.Thread(target=hang_up, args=(listener,), daemon=True)
        other.start()
        error = shared.put(f"/v1/agent/join?address=127.0.0.1:{port}").json()["error"]
        other.join(10)
    assert f"Failed to join 127.0.0.1: 127.0.0.1:{port}: no server port answers there" in error
    assert "secret" not in error


def test_join_of_what_can_be_no_name_is_a_plain_failure(shared):
    answer = shared.put(f"/v1/agent/join?address=a.{'b' * 64}")
    assert answer.status == 200
    assert "a part of the host name has 64 characters" in answer.json()["error"]
    assert answer.json()["num_joined"] == 0


def test_join_reports_each_address_that_failed(shared):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = holder.getsockname()[1]
        address = f"127.0.0.1:{port}"
        answer = shared.put(f"/v1/agent/join?address={address}&address={address}").json()
    reason = f"\t* Failed to join 127.0.0.1: dial tcp {address}: connect: connection refused\n"
    assert answer == {
        "error": f"2 errors occurred:\n{reason}{reason}\n",
        "num_joined": 0,
    }


def test_a_server_without_a_key_calls_no_other_machine(shared):
    error = shared.put("/v1/agent/join?address=192.0.2.1").json()["error"]
    assert "Failed to join 192.0.2.1: this server has no key" in error
    assert "give all servers the same `encrypt`" in error


@pytest.mark.parametrize("acl", [False, True])
def test_an_api_that_everybody_may_write_to_is_said_at_the_start(start_agent, acl: bool):
    told = dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1")
    agent = start_agent({"bind_addr": "0.0.0.0", "advertise": told, "acl": {"enabled": acl}})
    assert ("event=api_open" in agent.log) != acl
    assert "event=peers_unprotected" not in agent.log


@pytest.mark.parametrize("verify", [False, True])
def test_certificates_that_anybody_may_have_are_said_at_the_start(start_agent, tmp_path, verify):
    authority = Authority(tmp_path)
    pair = authority.sign(dns="server.global.nomad")
    Path(pair.key).chmod(0o600)
    files = {"cert_file": pair.cert, "key_file": pair.key, "ca_file": authority.file}
    told = dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1")
    tls = {"rpc": True, "verify_server_hostname": verify, **files}
    agent = start_agent({"bind_addr": "0.0.0.0", "advertise": told, "tls": tls})
    assert ("verify_server_hostname = true }: any certificate" in agent.log) != verify


# Headers of every answer


def test_configured_headers_are_on_every_answer_but_that_of_unknown_paths(start_agent):
    agent = start_agent({"http_api_response_headers": {"X-House": "yes"}})
    for method, path in (
        ("GET", SCHEDULER),
        ("GET", f"{SCHEDULER}?wait=x"),
        ("DELETE", SCHEDULER),
        ("PUT", SCHEDULER),
        ("GET", "/v1/operator/snapshot"),
        ("GET", "/v1/operator/raft/zzz"),
    ):
        assert agent.request(method, path).header("X-House") == "yes", path
    assert agent.get("/v1/nothing").header("X-House") is None


@pytest.mark.parametrize(
    "value", ["gzip", "GZIP", "br, gzip;q=0.5", "gzip, deflate", "gzip;q=1.0, *;q=0"]
)
def test_gzip_is_used_for_every_body_when_listed(shared, value):
    for path, status in (
        (SCHEDULER, 200),
        ("/v1/status/leader", 200),
        (f"{SCHEDULER}?wait=x", 400),
    ):
        answer = shared.get(path, headers={"Accept-Encoding": value})
        assert (answer.status, answer.header("Content-Encoding")) == (status, "gzip")
        assert answer.header("Vary") == "Accept-Encoding"


@pytest.mark.parametrize("value", ["gzip;q=0", "br", "deflate", "*", "identity", "xgzip"])
def test_gzip_is_not_used_when_not_listed(shared, value):
    answer = shared.get(SCHEDULER, headers={"Accept-Encoding": value})
    assert answer.header("Content-Encoding") is None
    assert answer.header("Vary") == "Accept-Encoding"


def test_the_last_voter_is_not_forced_to_leave(shared):
    name = shared.get("/v1/agent/members").json()["Members"][0]["Name"]
    for query in ("", "&force=true"):
        answer = shared.put(f"/v1/agent/force-leave?node={name}{query}")
        assert (answer.status, answer.text) == (
            409,
            f"{name} is the last voter and cannot leave; stop it instead",
        )
    assert shared.get("/v1/agent/members").json()["Members"][0]["Status"] == "alive"
