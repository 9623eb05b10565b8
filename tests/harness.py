"""Real agents as processes, and raw HTTP to talk to them. Shared by every test that needs one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

BELLCOW = Path(sys.executable).parent / "bellcow"
PORTS = range(15_000, 32_000)
START_S = 60.0
WAIT_S = 60.0  # a machine with other work is slow; who does not wait in vain waits no longer

T = TypeVar("T")

_given: set[int] = set()  # ports: the servers they are meant for may not listen yet


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; no two calls of a process give the same one.

    They are below those that the kernel gives to outgoing connections: such a port may be taken
    again before the server that it is meant for listens.
    """
    found: list[int] = []
    while len(found) < count:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            found.append(port)
    return found


def until(holds: Callable[[], T], what: str, limit_s: float = WAIT_S) -> T:
    """Wait until something holds that comes about in another process, and give what it gave.

    A server that does not answer yet, or answers something else, does not end the wait.
    """
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(AssertionError, OSError, ValueError, StopIteration, KeyError):
            if found := holds():
                return found
        assert time.monotonic() < deadline, f"waited {limit_s:g} s in vain for {what}"
        time.sleep(0.02)


class Answer:
    """One HTTP answer as it came."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.text[:300]!r}>"


def exchange(
    port: int,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    *,
    chunked: bool = False,
    timeout: float = 30.0,
) -> Answer:
    """One request on a connection of its own, the path sent exactly as given.

    `body` None sends neither body nor length; b"" sends a length of 0.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    payload = b""
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        piece = body or b""
        payload = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + b"0\r\n\r\n"
    elif body is not None:
        lines.append(f"Content-Length: {len(body)}")
        payload = body
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.settimeout(timeout)
        # A server may answer and close before it has read all: what it said still counts.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head + payload)
        return read_answer(connection, method)


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer from a socket, whatever its framing."""
    import http.client

    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, response.getheaders(), body)


class Agent:
    """One `bellcow agent` process with a data directory of its own, on free ports.

    `settings` is merged over a minimal one-server configuration, block by block.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any] | None = None,
        *,
        environment: dict[str, str] | None = None,
        name: str = "single",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.http_port, self.rpc_port, self.serf_port = free_ports(3)
        self.log_path = folder / "agent.log"
        self.config_path = folder / "agent.json"
        base: dict[str, Any] = {
            "name": name,
            "data_dir": str(self.data_dir),
            "bind_addr": "127.0.0.1",
            "log_level": "DEBUG",
            "ports": {"http": self.http_port, "rpc": self.rpc_port, "serf": self.serf_port},
            "advertise": {"http": "127.0.0.1", "rpc": "127.0.0.1", "serf": "127.0.0.1"},
            "server": {"enabled": True, "bootstrap_expect": 1},
        }
        for key, value in (settings or {}).items():
            old = base.get(key)
            base[key] = {**old, **value} if isinstance(old, dict) else value
        folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(json.dumps(base))
        self._environment = environment or {}
        self._prefix = prefix  # a command that runs the agent in its place
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, BELLCOW, "agent", f"-config={self.config_path}"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
            )
        if wait:
            try:
                self.wait()
            except BaseException:
                self.kill()  # its test has no agent to stop yet
                raise
        return self

    def wait(self) -> None:
        """Return when the server leads; raise with its log when it does not."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the agent ended with {self.process.returncode}\n{self.log}")
            with contextlib.suppress(OSError):
                if self.get("/v1/status/leader").status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"no leader after {START_S} s\n{self.log}")

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status. One that does not end in 10 s is killed, and is an error."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the agent did not stop\n{self.log}") from None

    def restart(self) -> None:
        self.stop()
        self.start()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str = "",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """A request; a dict or list as body is sent as JSON."""
        sent = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        given = {**({"X-Nomad-Token": token} if token else {}), **(headers or {})}
        return exchange(self.http_port, method, path, given, sent, **options)

    def get(self, path: str, token: str = "", **options: Any) -> Answer:
        return self.request("GET", path, token=token, **options)

    def put(self, path: str, body: Any = None, token: str = "", **options: Any) -> Answer:
        return self.request("PUT", path, body, token, **options)

    def delete(self, path: str, token: str = "", **options: Any) -> Answer:
        return self.request("DELETE", path, token=token, **options)

    def bootstrap(self) -> str:
        """Bootstrap ACLs; the secret of the management token."""
        return str(self.put("/v1/acl/bootstrap").json()["SecretID"])

    def command(self, *words: str, token: str = "", **options: Any) -> subprocess.CompletedProcess:
        """Run a bellcow command against this agent."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "BELLCOW_ADDR": self.url,
            **({"BELLCOW_TOKEN": token} if token else {}),
        }
        return subprocess.run(
            [BELLCOW, *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=options.pop("cwd", self.folder),
            timeout=60,
            check=False,
            **options,
        )
