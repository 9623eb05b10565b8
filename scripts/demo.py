"""Three servers on this machine: they form a cluster, lose their leader, and go on.

Called by `make demo`. Everything is in one temporary directory, which is gone at the end.
"""  # noqa: INP001  a script, not a package

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import urllib3

from bellcow.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

BELLCOW = Path(sys.executable).parent / "bellcow"
NAMES = ("anna", "bella", "clara")
WAIT_S = 30.0
CLOCK = SystemClock()


def say(text: str) -> None:
    show(f"\n{text}\n")


def show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Server:
    """One agent as a process group of its own."""

    def __init__(self, name: str, folder: Path, ports: list[int]) -> None:
        self.name = name
        self.folder = folder / name
        self.http, self.rpc, self.serf = ports
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def file(self) -> Path:
        return self.folder / "server.json"

    def configure(self, others: list[str]) -> None:
        """What such a server needs to be told: its name, its data, and who the others are."""
        self.folder.mkdir()
        settings = {
            "name": self.name,
            "data_dir": str(self.folder / "data"),
            "bind_addr": "127.0.0.1",
            "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
            "ports": {"http": self.http, "rpc": self.rpc, "serf": self.serf},
            "server": {
                "enabled": True,
                "bootstrap_expect": len(NAMES),
                "server_join": {"retry_join": others, "retry_interval": "1s"},
            },
        }
        self.file.write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2))

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                [BELLCOW, "agent", f"-config={self.file}"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def has_failed(self) -> bool:
        return self.process is not None and (self.process.poll() or 0) > 0

    def end(self, number: signal.Signals) -> None:
        if self.process is not None and self.runs:
            self.process.send_signal(number)
            self.process.wait(WAIT_S)

    def leader(self) -> str:
        """The address of the leader as this server knows it; "" when it knows of none."""
        with contextlib.suppress(urllib3.exceptions.HTTPError, msgspec.MsgspecError):
            return msgspec.json.decode(self.get("/v1/status/leader?stale"), type=str)
        return ""

    def get(self, path: str) -> bytes:
        return urllib3.request("GET", f"{self.url}{path}", timeout=2, retries=False).data


class Demo:
    """The servers, and what is shown of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = free_ports(3 * len(NAMES))
        self.servers = [
            Server(name, folder, ports[3 * n : 3 * n + 3]) for n, name in enumerate(NAMES)
        ]
        addresses = [f"127.0.0.1:{server.serf}" for server in self.servers]
        for server in self.servers:
            server.configure(addresses)

    def run(self) -> None:
        self.form()
        self.write_and_save()
        self.lose_the_leader()
        self.restore()
        self.come_back()

    def form(self) -> None:
        say("Three servers start. Each is told where the others are; one file is enough:")
        show(self.servers[0].file.read_text())
        began = CLOCK.monotonic()
        for server in self.servers:
            server.start()
        leader = self.wait_for_leader()
        say(f"After {CLOCK.monotonic() - began:.1f} s they are a cluster, and {leader.name} leads:")
        self.type(leader, "operator raft list-peers")

    def write_and_save(self) -> None:
        follower = next(server for server in self.servers if server is not self.wait_for_leader())
        say(f"Any server takes a change. {follower.name} hands this one on to the leader:")
        self.type(follower, "operator scheduler set-config -scheduler-algorithm=spread")
        say("A snapshot is the whole state in one file:")
        self.type(follower, "operator snapshot save backup.snap")

    def lose_the_leader(self) -> None:
        leader = self.wait_for_leader()
        say(f"Now {leader.name}, who leads, is killed without a warning: kill -9.")
        began = CLOCK.monotonic()
        leader.end(signal.SIGKILL)
        heir = self.wait_for_leader(besides=leader)
        say(f"After {CLOCK.monotonic() - began:.1f} s {heir.name} leads. Nothing is lost:")
        self.type(heir, "operator scheduler get-config")
        self.type(heir, "operator raft list-peers")

    def restore(self) -> None:
        server = self.wait_for_leader()
        say("Somebody changes the setting, and wants the old state back:")
        self.type(server, "operator scheduler set-config -scheduler-algorithm=binpack")
        self.type(server, "operator snapshot restore -yes backup.snap")
        self.type(server, "operator scheduler get-config")

    def come_back(self) -> None:
        (missing,) = (server for server in self.servers if not server.runs)
        say(f"{missing.name} starts again, and finds its way back by itself:")
        missing.start()
        wait(lambda: bool(missing.leader()), f"{missing.name} to know the leader")
        wait(lambda: self.alive() == len(NAMES), "all servers to be alive")
        self.type(missing, "server members")

    def alive(self) -> int:
        server = next(server for server in self.servers if server.runs)
        members = msgspec.json.decode(server.get("/v1/agent/members"))["Members"]
        return sum(member["Status"] == "alive" for member in members)

    def wait_for_leader(self, besides: Server | None = None) -> Server:
        """The server that all who run take for the leader, and who is not `besides`."""
        by_address = {
            f"127.0.0.1:{server.rpc}": server for server in self.servers if server is not besides
        }

        def agreed() -> Server | None:
            for server in self.servers:
                if server.has_failed:
                    raise SystemExit((server.folder / "log").read_text())
            said = {server.leader() for server in self.servers if server.runs}
            return by_address.get(said.pop()) if len(said) == 1 else None

        wait(lambda: agreed() is not None, "a leader")
        return agreed() or self.wait_for_leader(besides)

    def type(self, server: Server, words: str) -> None:
        """Run a command against a server, as one would type it."""
        show(f"  {server.name}$ bellcow {words}")
        done = subprocess.run(  # noqa: S603  our own program
            [BELLCOW, *shlex.split(words)],
            env={**os.environ, "BELLCOW_ADDR": server.url},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        text = (done.stdout + done.stderr).rstrip()
        show("".join(f"  {line}\n" for line in text.splitlines()))
        if done.returncode:
            raise SystemExit(f"the command failed with status {done.returncode}")

    def end(self) -> None:
        for server in self.servers:
            if server.process is not None and server.runs:
                server.process.terminate()
        for server in self.servers:
            server.end(signal.SIGTERM)


def wait(holds: Callable[[], bool], what: str) -> None:
    deadline = CLOCK.monotonic() + WAIT_S
    while not holds():
        if CLOCK.monotonic() > deadline:
            raise SystemExit(f"waited {WAIT_S:.0f} s in vain for {what}")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until all are known, so none repeats."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def main() -> None:
    if shutil.which("etcd") is None:
        raise SystemExit("etcd is missing; scripts/etcd.sh says how to get it")
    began = CLOCK.monotonic()
    # Not below a long path: the kernel allows 107 characters for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="bellcow-demo-", dir="/tmp") as folder:
        demo = Demo(Path(folder))
        try:
            demo.run()
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        finally:
            demo.end()
    seconds = CLOCK.monotonic() - began
    say(f"All three are stopped, and their files are gone. It took {seconds:.0f} s.")


if __name__ == "__main__":
    main()
