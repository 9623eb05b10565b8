"""The commands of the page on TLS, run as they stand there, by three servers on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness import BELLCOW, free_ports
from tests.support.etcd import needs_etcd

import bellcow

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (Path(__file__).parents[2] / "docs" / "operations" / "tls.md").read_text("utf-8")
NUMBERS = {"one": 1, "two": 2, "three": 3}
OWN = ("global-server-nomad.pem", "global-server-nomad-key.pem")
PATIENCE_S = 40.0


def commands(title: str) -> list[str]:
    section = re.split(r"^##+ ", TEXT, flags=re.MULTILINE)
    (text,) = [each for each in section if each.startswith(title)]
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


class Machine:
    """The page's world on loopback: 10.0.0.N is 127.0.0.N, and the directories are below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.http, self.rpc, self.serf = free_ports(3)
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str, name: str) -> str:
        text = text.replace("/etc/bellcow", str(self.root / name / "etc"))
        text = text.replace("/var/lib/bellcow", str(self.root / name / "lib"))
        text = re.sub(r'"10\.0\.0\.(\d)"(?=[,\]])', rf'"127.0.0.\1:{self.serf}"', text)
        return text.replace("10.0.0.", "127.0.0.").replace(":4646", f":{self.http}")

    def run(self, line: str, name: str = "one", **more: str) -> subprocess.CompletedProcess[str]:
        path = f"{BELLCOW.parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", self.here(line, name)],
            env={"PATH": path, "HOME": str(self.root), **more},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def must(self, line: str, name: str = "one", **more: str) -> str:
        done = self.run(line, name, **more)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def furnish(self) -> None:
        """What the page says in words: what goes into the directory of each server."""
        (server,) = re.findall(r"```hcl\n(.*?)```", TEXT, re.DOTALL)
        ports = {"http": self.http, "rpc": self.rpc, "serf": self.serf}
        for name, number in NUMBERS.items():
            etc = self.root / name / "etc"
            etc.mkdir()
            own = server.replace('bind_addr = "10.0.0.1"', f'bind_addr = "10.0.0.{number}"')
            (etc / "server.hcl").write_text(self.here(own, name))
            advertise = dict.fromkeys(ports, f"127.0.0.{number}")
            (etc / "ports.json").write_text(json.dumps({"ports": ports, "advertise": advertise}))
            for file in ("nomad-agent-ca.pem", *(f"{name}/{each}" for each in OWN)):
                shutil.copy(self.root / file, etc)

    def start(self, name: str) -> None:
        (line,) = [each for each in commands("Configuration") if each.startswith("bellcow agent")]
        words = self.here(line, name).split()
        log = (self.root / name / "agent.log").open("ab")
        with log:
            self.agents[name] = subprocess.Popen([BELLCOW, *words[1:]], stdout=log, stderr=log)

    def log(self, name: str) -> str:
        return (self.root / name / "agent.log").read_text("utf-8", "replace")

    def stop(self) -> None:
        for agent in self.agents.values():
            agent.terminate()
        for agent in self.agents.values():
            try:
                agent.wait(15)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.stop()


def prepared(machine: Machine) -> None:
    for line in commands("Certificates\n"):
        machine.must(line)
    machine.furnish()


def test_every_text_that_the_page_explains_is_said_somewhere() -> None:
    source = Path(bellcow.__file__).parent
    files = (
        "config/certificates.py",
        "config/checks/peers.py",
        "config/checks/tls.py",
        "cluster/transport/server_names.py",
        "events.py",
    )
    said = " ".join(
        (source / file).read_text("utf-8") for file in (*files, "cluster/transport/client.py")
    )
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", TEXT, re.MULTILINE)
    explained = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(explained) > 15
    for text in explained:
        for piece in re.split(r"\.\.\.|server\.REGION\.nomad|ADDRESS|\b(?:client|server)\b", text):
            assert piece.strip(" ,:") in said, text


@pytest.mark.slow
def test_the_files_of_the_page_are_valid(machine: Machine) -> None:
    prepared(machine)
    (validate,) = [line for line in commands("Configuration") if "validate" in line]
    for name in NUMBERS:
        done = machine.run(validate, name)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Configuration is valid!\n"
    machine.must(*commands("One key"))
    assert (machine.root / "encrypt.hcl").stat().st_mode & 0o077 == 0
    for file in OWN:
        shutil.copy(machine.root / "one" / file, machine.root / "two" / "etc")
    done = machine.run(validate, "two")
    assert done.returncode == 1
    assert "does not name 127.0.0.2, which is advertised" in done.stderr
    assert done.stderr.count("bellcow tls cert create") == 1


@pytest.mark.slow
@needs_etcd
def test_three_servers_form_a_cluster_and_reload_certificates(machine: Machine) -> None:
    prepared(machine)
    for name in NUMBERS:
        machine.start(name)
    export, acl, _, members, peers = commands("Check it")
    variables = dict(
        word.split("=", 1) for word in machine.here(export, "one").split() if "=" in word
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (
        found := re.findall(r"(?m)^Secret ID *= *(\S+)", machine.run(acl, **variables).stdout)
    ):
        assert time.monotonic() < deadline, "\n".join(machine.log(name) for name in NUMBERS)
        time.sleep(0.2)
    variables["BELLCOW_TOKEN"] = found[0]
    while machine.run(peers, **variables).stdout.count("true") < len(NUMBERS):
        assert time.monotonic() < deadline, "\n".join(machine.log(name) for name in NUMBERS)
        time.sleep(0.2)
    assert machine.must(members, **variables).count("alive") == len(NUMBERS)

    first, make, *_ = (line for line in commands("Certificates\n") if "create" in line)
    assert "ca create" in first
    machine.must("rm one/global*; " + make)
    for file in OWN:
        shutil.copy(machine.root / "one" / file, machine.root / "one" / "etc")
    before = shown(machine)
    (hang_up,) = commands("Renewing")
    machine.must(hang_up)
    while shown(machine) == before:
        assert time.monotonic() < deadline + PATIENCE_S, machine.log("one")
        time.sleep(0.1)
    assert machine.must(members, **variables).count("alive") == len(NUMBERS)
    assert {machine.agents[name].poll() for name in NUMBERS} == {None}
    machine.agents["one"].send_signal(signal.SIGTERM)
    assert machine.agents["one"].wait(15) == 0


def shown(machine: Machine) -> str:
    """The certificate that server one shows on its HTTP port."""
    return ssl.get_server_certificate(("127.0.0.1", machine.http), timeout=5)
