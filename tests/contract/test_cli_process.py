"""The program as a process of its own against a real agent: what the replay cannot show."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from tests.harness import BELLCOW, Agent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLAIMS = {
    "LicenseID": "team",
    "CustomerID": "storage team",
    "InstallationID": "*",
    "Product": "nomad",
    "StartTime": "2020-01-01T00:00:00Z",
    "ExpirationTime": "2999-01-01T00:00:00Z",
    "TerminationTime": "2999-02-01T00:00:00Z",
    "Features": ["Redundancy Zones"],
}


def test_a_link_called_nomad_is_nomad(start_agent: Callable[..., Agent], tmp_path: Path) -> None:
    agent = start_agent()
    nomad = tmp_path / "nomad"
    nomad.symlink_to(BELLCOW)
    environment = {"PATH": os.environ["PATH"], "NOMAD_ADDR": agent.url}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [nomad, *words], capture_output=True, text=True, env=environment, check=False
        )

    assert run("-version").stdout == "Nomad v1.0.18\n"
    members = run("server", "members")
    assert (members.returncode, members.stderr) == (0, "")
    assert members.stdout.splitlines()[1].startswith("single.global  127.0.0.1  ")
    assert run("operator", "raft").stdout.startswith("Usage: nomad operator raft ")
    assert run("operator", "api", "/v1/status/leader").stdout == f'"127.0.0.1:{agent.rpc_port}"'


def test_a_license_of_ones_own_is_issued_and_installed(
    start_agent: Callable[..., Agent], tmp_path: Path
) -> None:
    made = subprocess.run(
        [BELLCOW, "license", "keygen", "-out=key"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    agent = start_agent({"license": {"issuers": [made.stdout.strip()]}})
    (tmp_path / "claims.json").write_text(json.dumps(CLAIMS))
    key = f"-key={tmp_path / 'key'}"
    issued = agent.command("license", "issue", key, str(tmp_path / "claims.json"))
    (tmp_path / "license").write_text(issued.stdout)
    assert "temporary" in agent.command("license", "get").stdout
    put = agent.command("license", "put", str(tmp_path / "license"))
    assert (put.returncode, put.stdout) == (0, "Successfully applied license\n"), put.stderr
    got = agent.command("license", "get").stdout
    assert "License ID     = team\n" in got
    assert got.endswith("Licensed Features:\n\tRedundancy Zones\n")


def test_a_state_goes_out_through_a_pipe_and_comes_back(
    start_agent: Callable[..., Agent], tmp_path: Path
) -> None:
    agent = start_agent()
    agent.command("namespace", "apply", "-description=kept", "web")
    saved = subprocess.run(
        [BELLCOW, "operator", "snapshot", "save", f"-address={agent.url}", "-"],
        capture_output=True,
        check=True,
    )
    (tmp_path / "state.snap").write_bytes(saved.stdout)
    agent.command("namespace", "delete", "web")
    restored = agent.command("operator", "snapshot", "restore", str(tmp_path / "state.snap"))
    assert restored.returncode == 0, restored.stderr
    first, kept = restored.stdout.splitlines()
    assert first == "Snapshot Restored"
    (file,) = agent.data_dir.rglob("before-restore-*.snap")
    member = agent.get("/v1/agent/self").json()["member"]["Name"]
    assert f" kept on {member}, in server/snapshots/{file.name} " in kept
    assert "Description = kept" in agent.command("namespace", "status", "web").stdout
    shown = agent.command("operator", "snapshot", "state", str(tmp_path / "state.snap"))
    names = [one["Name"] for one in json.loads(shown.stdout)["namespaces"]]
    assert sorted(names) == ["default", "web"]


def test_a_store_is_read_beside_its_server_and_without_it(
    start_agent: Callable[..., Agent],
) -> None:
    agent = start_agent({"acl": {"enabled": True}})
    secret = agent.bootstrap()
    index = agent.get("/v1/agent/self", secret).json()["stats"]["raft"]["last_log_index"]
    running = agent.command("operator", "raft", "info", str(agent.data_dir))
    assert (running.returncode, running.stderr) == (0, "")
    assert running.stdout.endswith(f"last index:  {index}\n")
    agent.stop()
    files = sorted(agent.data_dir.rglob("*"))
    stopped = agent.command("operator", "raft", "info", str(agent.data_dir))
    assert stopped.stdout == running.stdout
    shown = agent.command("operator", "raft", "state", str(agent.data_dir))
    assert secret not in shown.stdout
    assert str(json.loads(shown.stdout)["Head"]["Index"]) == index
    assert (
        secret in agent.command("operator", "raft", "state", "-secrets", str(agent.data_dir)).stdout
    )
    assert sorted(agent.data_dir.rglob("*")) == files
    agent.start()
    assert agent.get("/v1/acl/token/self", secret).status == 200


def test_a_redacted_snapshot_opens_the_bootstrap_again(
    start_agent: Callable[..., Agent], tmp_path: Path
) -> None:
    agent = start_agent({"acl": {"enabled": True}})
    secret = agent.bootstrap()
    agent.command("namespace", "apply", "web", token=secret)
    file = str(tmp_path / "r.snap")
    saved = agent.command("operator", "snapshot", "save", "-redact", file, token=secret)
    assert saved.stdout.endswith("Left out: 1 ACL token, the mark of the ACL bootstrap\n")
    shown = agent.command("operator", "snapshot", "state", "-secrets", file).stdout
    assert secret not in shown
    restored = agent.command("operator", "snapshot", "restore", file, token=secret)
    assert restored.returncode == 0, restored.stderr
    assert "make one with 'bellcow acl bootstrap'" in restored.stdout
    assert agent.command("namespace", "list", token=secret).returncode == 1
    new = agent.bootstrap()
    assert "web" in agent.command("namespace", "list", token=new).stdout


def test_policies_are_completed_and_own_ones_listed(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent({"acl": {"enabled": True}})
    secret = agent.bootstrap()
    rules = {"Name": "opread", "Description": "d", "Rules": 'operator { policy = "read" }'}
    agent.put("/v1/acl/policy/opread", rules, secret)
    accessor = "74684185-baa7-abed-1de8-0eb6c862bd7b"
    words = ("-policy=opread", f"-accessor={accessor}", "-t={{.SecretID}}")
    made = agent.command("acl", "token", "create", *words, token=secret)
    own = agent.command("acl", "policy", "self", token=made.stdout.strip())
    assert (own.stdout, own.stderr) == ("Name    Description\nopread  d\n", "")
    environment = {"PATH": os.environ["PATH"], "BELLCOW_ADDR": agent.url, "BELLCOW_TOKEN": secret}
    for line, offered in (
        ("bellcow acl policy info op", "opread\n"),
        ("bellcow acl token delete 7468", f"{accessor}\n"),
        ("bellcow namespace inspect ", "default\n"),
    ):
        found = subprocess.run(
            [BELLCOW],
            capture_output=True,
            text=True,
            env={**environment, "COMP_LINE": line},
            check=True,
        )
        assert (found.stdout, found.stderr) == (offered, "")


def _started(agent: Agent, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # A test runner in the background may have SIGINT ignored, which children inherit.
        ["env", "--default-signal=INT", BELLCOW, *words, f"-address={agent.url}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_log_is_followed_until_an_interrupt(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent()
    with _started(agent, "monitor", "-log-level=DEBUG") as monitor:
        assert monitor.stdout is not None
        # Each save makes the server log something; the first ones may come before we listen.
        for _ in range(100):
            agent.get("/v1/operator/snapshot")
            if select.select([monitor.stdout], [], [], 0.2)[0]:
                break
        assert "[INFO]" in monitor.stdout.readline()
        monitor.send_signal(signal.SIGINT)
        assert monitor.wait(10) == 0


def test_the_saver_stops_cleanly(start_agent: Callable[..., Agent], tmp_path: Path) -> None:
    agent = start_agent()
    words = ("operator", "snapshot", "agent", f"-local-path={tmp_path}", "-interval=1h")
    with _started(agent, *words) as saver:
        assert saver.stdout is not None
        assert saver.stdout.readline().startswith(f"State file written to {tmp_path}/nomad-state-")
        saver.terminate()
        assert saver.wait(10) == 0
        assert saver.stdout.read() == "Stopped\n"
