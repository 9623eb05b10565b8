"""The world of a page about several servers, on the loopback interface of this machine.

10.0.0.N is 127.0.0.N, the directories are below one folder of the test, and the ports, the same on
all, are free ones. Commands are run as they stand on the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import textwrap
import time
from typing import TYPE_CHECKING, Any

from tests.harness import BELLCOW, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 60.0


def section(text: str, title: str) -> str:
    """What stands below a heading."""
    (found,) = [each for each in re.split(r"(?m)^##+ ", text) if each.startswith(f"{title}\n")]
    return found


def commands(text: str) -> list[str]:
    """The command lines of a text, without those that start a server."""
    found = re.findall(r"(?m)^ *\$ (.+)$", text)
    return [line for line in found if not line.startswith("bellcow agent")]


def blocks(text: str) -> list[str]:
    """The configuration files of a text."""
    return [textwrap.dedent(each) for each in re.findall(r"(?s)```hcl\n(.*?)```", text)]


class Machines:
    """Machines by the name of their server; `s2` has the address 10.0.0.2 on the page."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.http, self.rpc, self.serf = free_ports(3)
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.token = ""

    def here(self, text: str, name: str) -> str:
        text = text.replace("/etc/bellcow", str(self.root / name / "etc"))
        text = text.replace("/var/lib/bellcow", str(self.root / name / "lib"))
        text = re.sub(r'"10\.0\.0\.(\d)"(?=[,\]])', rf'"127.0.0.\1:{self.serf}"', text)
        text = re.sub(r"(-retry-join=)10\.0\.0\.(\d)", rf"\g<1>127.0.0.\2:{self.serf}", text)
        text = re.sub(r"(join) 10\.0\.0\.(\d)", rf"\1 127.0.0.\2:{self.serf}", text)
        text = re.sub(r"(http://10\.0\.0\.\d):4646", rf"\1:{self.http}", text)
        return text.replace("10.0.0.", "127.0.0.")

    def furnish(self, name: str, file: str, **more: Any) -> None:
        """Write a page's configuration file for one machine, and what only tests need."""
        etc = self.root / name / "etc"
        etc.mkdir(parents=True)
        own = re.sub(r"(?m)^name .*", f'name = "{name}"', file)
        own = re.sub(r"(?m)^bind_addr .*", f'bind_addr = "127.0.0.{name[1:]}"', own)
        (etc / "server.hcl").write_text(self.here(own, name))
        ports = {"http": self.http, "rpc": self.rpc, "serf": self.serf}
        advertise = dict.fromkeys(ports, f"127.0.0.{name[1:]}")
        if (self.root / "encrypt.hcl").exists():
            shutil.copy(self.root / "encrypt.hcl", etc)
        settings = {"ports": ports, "advertise": advertise, **more}
        (etc / "test.json").write_text(json.dumps(settings))

    # Life

    def start(self, name: str, *flags: str) -> None:
        self.launch(name, f"-config={self.root / name / 'etc'}", *flags)

    def launch(self, name: str, *flags: str) -> None:
        words = [BELLCOW, "agent", *flags]
        with (self.root / name / "log").open("ab") as log:
            self.agents[name] = subprocess.Popen(words, stdout=log, stderr=log)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        agent = self.agents.pop(name)
        agent.send_signal(number)
        return agent.wait(20)

    def end(self) -> None:
        for name in list(self.agents):
            self.stop(name, signal.SIGKILL)

    def log(self, name: str) -> str:
        return (self.root / name / "log").read_text("utf-8", "replace")

    # Commands

    def run(self, line: str, name: str = "s1") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{BELLCOW.parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(self.root),
            **({"BELLCOW_TOKEN": self.token} if self.token else {}),
            "BELLCOW_ADDR": f"http://127.0.0.{name[1:]}:{self.http}",
        }
        return subprocess.run(
            ["bash", "-c", self.here(line, name)],
            env=environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def must(self, line: str, name: str = "s1") -> str:
        done = self.run(line, name)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def bootstrap(self, line: str) -> None:
        """Switch ACLs on as a page says, once there is a leader, and use the token from then on."""
        said: list[str] = []

        def done() -> bool:
            said.append(self.run(line).stdout)
            return "Secret ID" in said[-1]

        self.until(done, line)
        (self.token,) = re.findall(r"(?m)^Secret ID *= *(\S+)", said[-1])

    def peers(self, name: str = "s1") -> dict[str, tuple[str, bool]]:
        """State and vote of each server, as the command prints them."""
        lines = self.run("bellcow operator raft list-peers", name).stdout.splitlines()[1:]
        rows = (line.split() for line in lines)
        return {row[0].partition(".")[0]: (row[3], row[4] == "true") for row in rows if row}

    def leader(self, name: str = "s1") -> str:
        return next(each for each, (state, _) in self.peers(name).items() if state == "leader")

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            logs = "\n".join(f"== {name}\n{self.log(name)[-3000:]}" for name in self.agents)
            assert time.monotonic() < deadline, f"never: {what}\n{logs}"
            time.sleep(0.1)

    def until_it_ends_well(self, line: str, name: str = "s1") -> None:
        self.until(lambda: self.run(line, name).returncode == 0, line)
