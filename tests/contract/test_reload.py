"""SIGHUP to a real agent: what it answers from then on, and what its log says."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness import until
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from tests.harness import Agent

LEADER = "/v1/status/leader"


def reload(agent: Agent, changes: dict[str, Any], *, said: str = "configuration reloaded") -> str:
    """Change the file, send the signal, wait for the log to tell; what it said."""
    settings = json.loads(agent.config_path.read_text())
    for key, value in changes.items():
        old = settings.get(key)
        settings[key] = {**old, **value} if isinstance(old, dict) else value
    agent.config_path.write_text(json.dumps(settings))
    before = len(agent.log)
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    until(lambda: said in agent.log[before:], f"{said!r} in the log")
    return agent.log[before:]


def taken(agent: Agent) -> http.client.HTTPConnection | None:
    """A connection that the server has taken, and keeps."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)
    connection.request("GET", LEADER)
    answer = connection.getresponse()
    answer.read()
    if answer.status == 200:
        return connection
    connection.close()
    return None


def test_headers_limits_and_filters_change_and_the_rest_is_named(start_agent):
    agent = start_agent()
    assert agent.get(LEADER).header("X-House") is None
    said = reload(
        agent,
        {
            "http_api_response_headers": {"X-House": "yes"},
            "limits": {"http_max_conns_per_client": 2},
            "telemetry": {"prefix_filter": ["-nomad.runtime"]},
            "server": {"heartbeat_grace": "1m"},
            "datacenter": "dc2",
        },
    )
    assert said.count("event=restart_needed") == said.count("setting=datacenter") == 1
    assert agent.get(LEADER).header("X-House") == "yes"
    names = [row["Name"] for row in agent.get("/v1/metrics").json()["Gauges"]]
    assert names
    assert not [name for name in names if name.startswith("nomad.runtime")]
    shown = agent.get("/v1/agent/self").json()["config"]
    assert shown["Limits"]["HTTPMaxConnsPerClient"] == 2
    assert shown["Server"]["HeartbeatGrace"] == 60 * 10**9
    assert shown["Datacenter"] == "dc1"
    with contextlib.ExitStack() as held:
        for _ in range(2):
            # One before it may count for a moment after its client has closed it.
            connection = until(lambda: taken(agent), "a connection")
            held.callback(connection.close)
        assert agent.get(LEADER).status == 429


def test_bad_file_leaves_everything_as_it_is(start_agent):
    agent = start_agent({"http_api_response_headers": {"X-House": "yes"}})
    headers = {"X-House": "no\r\nX-Other: 1"}
    said = reload(agent, {"http_api_response_headers": headers}, said="reload failed")
    assert "no header can have" in said
    assert agent.get(LEADER).header("X-House") == "yes"


def test_tls_is_switched_on_with_other_certificates_and_off(start_agent, tmp_path):
    authority = Authority(tmp_path)
    agent = start_agent()

    def served() -> str:
        trust = authority.client_context()
        with contextlib.closing(
            http.client.HTTPSConnection("localhost", agent.http_port, timeout=10, context=trust)
        ) as connection:
            connection.request("GET", LEADER)
            assert connection.getresponse().status == 200
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate: Any = connection.sock.getpeercert()
        return str(certificate["subject"][0][0][1])

    for name in ("first", "second"):
        pair = authority.sign(name)
        Path(pair.key).chmod(0o600)
        reload(agent, {"tls": {"http": True, "cert_file": pair.cert, "key_file": pair.key}})
        assert served() == name
    reload(agent, {"tls": {"http": False}})
    assert agent.get(LEADER).status == 200
