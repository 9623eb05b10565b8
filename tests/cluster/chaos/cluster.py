"""A cluster of real servers for tests: starts them, breaks them, asks them.

One `Server` is one agent with its watchdog and its etcd. It keeps to its wires and its folder, and
when the cluster ends, nothing is left of it but its logs.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psutil
from tests.cluster.chaos.history import Claim
from tests.cluster.chaos.wires import wires
from tests.harness import BELLCOW, Answer

from bellcow import failpoint
from bellcow.snapshot import archive
from bellcow.state.tables import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.cluster.chaos.wires import Place, Wires

SETTLE_S = 30.0
STOP_S = 15.0
DISK_MB = 400
ETCD = os.environ.get("CHAOS_ETCD", "")  # the program; the one in PATH when empty
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
SLIP = re.compile(r"^(?:Task exception was never retrieved\n.*|Traceback .*)$", re.MULTILINE)
KEY = "b25lIGtleSBmb3IgYWxsIG9mIHRoZW0sIDMyIGJ5dGU="  # between the servers; no secret
SETTINGS: dict[str, Any] = {
    "bind_addr": "127.0.0.1",
    "log_level": "INFO",
    "log_json": True,
    "limits": {"http_max_conns_per_client": 0},
    "autopilot": {"server_stabilization_time": "1s"},
}


class Copy(msgspec.Struct, frozen=True):
    """The whole state of one server: the index it stands at and a digest of every record."""

    index: int
    digest: str


class Server:
    """One agent with its watchdog and its etcd."""

    def __init__(
        self, name: str, folder: Path, place: Place, join: list[str], expect: int, key: str
    ) -> None:
        self.name = name
        self.folder = folder
        self.place = place
        self.life = 0  # counts starts
        self.stopped = True  # by us
        self.fail_point = ""  # at which its next life ends
        self.clock_file: Path | None = None
        self.disk: Path | None = None
        self.data_dir = folder / "data"
        self.log_path = folder / "agent.log"
        self._join = join
        self._expect = expect
        self.key = key
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def serf_address(self) -> str:
        return f"{self.place.server_ip}:{self.place.serf}"

    @property
    def rpc_address(self) -> str:
        return f"{self.place.server_ip}:{self.place.rpc}"

    # Life

    def start(self) -> Self:
        """Start the agent; it may take its time to answer."""
        self.stopped = False
        self.life += 1
        config = self.folder / "agent.json"
        config.write_bytes(msgspec.json.encode(self._settings()))
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.place.command_prefix, BELLCOW, "agent", f"-config={config}"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment()},
                cwd=self.folder,
            )
        return self

    def _settings(self) -> dict[str, Any]:
        place = self.place
        return {
            **SETTINGS,
            "name": self.name,
            "data_dir": str(self.data_dir),
            "bind_addr": place.server_ip,
            "addresses": {"http": place.client_ip},
            "advertise": {
                "http": f"{place.client_ip}:{place.http}",
                "rpc": f"{place.server_ip}:{place.rpc}",
                "serf": f"{place.server_ip}:{place.serf}",
            },
            "ports": {"http": place.http, "rpc": place.rpc, "serf": place.serf},
            "server": {
                "enabled": True,
                "bootstrap_expect": self._expect,
                "etcd_path": ETCD,
                **({"encrypt": self.key} if self.key else {"open_peers": True}),
                "server_join": {"retry_join": self._join, "retry_interval": "1s"},
            },
        }

    def _environment(self) -> dict[str, str]:
        armed = {"PYTHONFAULTHANDLER": "1"}
        if self.fail_point:
            armed[failpoint.VARIABLE] = self.fail_point
        if self.clock_file is None:
            return armed
        return {
            **armed,
            "LD_PRELOAD": str(FAKETIME[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def stop(self) -> int:
        """SIGTERM; the exit status. One that does not end is killed, and is an error."""
        self.stopped = True
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop") from None

    def kill(self) -> None:
        """SIGKILL to all its processes at once, as a machine dies."""
        self.stopped = True
        self._signal(self.processes(), signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def kill_python(self) -> None:
        """SIGKILL to the agent alone; its watchdog and its etcd are not touched."""
        self.stopped = True
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_etcd(self) -> None:
        self._signal(self.etcd(), signal.SIGKILL)

    def pause(self) -> None:
        self._signal(self.processes(), signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(self.processes(), signal.SIGCONT)

    def pause_python(self) -> None:
        self._signal(self._own(), signal.SIGSTOP)

    def pause_etcd(self) -> None:
        self._signal(self.etcd(), signal.SIGSTOP)

    def wipe(self) -> None:
        """Lose the disk. The server must be down."""
        for each in self.data_dir.iterdir() if self.data_dir.exists() else ():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    # Its processes

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _own(self) -> list[psutil.Process]:
        if not self.runs or self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [psutil.Process(self.process.pid)]
        return []

    def etcd(self) -> list[psutil.Process]:
        """Its etcd, by the file that its watchdog writes."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            pid = int((self.data_dir / "server/raft/etcd.pid").read_text())
            process = psutil.Process(pid)
            if process.name() == "etcd":
                return [process]
        return []

    def processes(self) -> list[psutil.Process]:
        """All of them, the agent first."""
        found = self._own()
        for each in list(found):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += each.children(recursive=True)
        return found + [each for each in self.etcd() if each not in found]

    @staticmethod
    def _signal(processes: Iterable[psutil.Process], number: int) -> None:
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    # Its disk and its clock

    def mount_small_disk(self) -> bool:
        """Keep its data on a small disk of its own; False where that is not allowed."""
        disk = self.folder / "disk"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "none", str(disk)]
        try:
            done = subprocess.run(words, capture_output=True, check=False)
        except FileNotFoundError:
            return False
        if done.returncode:
            return False
        self.disk, self.data_dir = disk, disk / "data"
        return True

    def fill_disk(self) -> None:
        """Leave not a byte, also while others go on writing."""
        assert self.disk is not None
        with (self.disk / "ballast").open("wb", buffering=0) as ballast:
            for piece in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(piece)) == piece:
                        pass

    def free_disk(self) -> None:
        assert self.disk is not None
        (self.disk / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.disk is not None:
            subprocess.run(["umount", "-l", str(self.disk)], check=True, capture_output=True)
            self.disk = None

    def have_own_clock(self) -> bool:
        """Let its clock be moved; False where the library for that is missing."""
        if FAKETIME:
            self.clock_file = self.folder / "clock"
            self.move_clock(0)
        return bool(FAKETIME)

    def move_clock(self, seconds: int) -> None:
        assert self.clock_file is not None
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock_file)

    # Questions

    def request(self, method: str, path: str, body: Any = None, *, timeout: float = 10.0) -> Answer:
        sent = msgspec.json.encode(body) if isinstance(body, dict) else body
        connection = http.client.HTTPConnection(
            self.place.client_ip, self.place.http, timeout=timeout
        )
        with contextlib.closing(connection):
            connection.request(method, path, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def leader_address(self) -> str:
        """Whom it takes for the leader; "" when it knows of nobody, or does not answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.get("/v1/status/leader?stale", timeout=2)
            if answer.status == 200:
                return str(answer.json())
        return ""

    def calls_healthy(self, ids: set[str], voters: int) -> bool:
        """Whether health, asked here, has no complaint and finds that many voters among these."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.get("/v1/operator/autopilot/health", timeout=2)
            health = answer.json() if answer.status == 200 else {}
            return bool(health.get("Healthy")) and len(ids & set(health["Voters"] or ())) == voters
        return False

    def copy(self) -> Copy:
        """Its own copy of the whole state, in every detail."""
        answer = self.get("/v1/operator/snapshot?stale", timeout=30)
        assert answer.status == 200, f"{self.name}: {answer}"
        limit = archive.limit_for(len(answer.body), 1 << 30)
        read = archive.read(io.BytesIO(answer.body), io.BytesIO(), limit, known=REGISTRY)
        digest = hashlib.sha256()
        for record in sorted(read.records()):
            digest.update(repr(record).encode())
        return Copy(read.meta.index, digest.hexdigest())

    # Its log

    def events(self) -> list[dict[str, str]]:
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.log_path.read_bytes().splitlines():
                with contextlib.suppress(msgspec.MsgspecError):
                    found.append(msgspec.json.decode(line, type=dict[str, str]))
        return found

    def slips(self) -> list[str]:
        """What it wrote past its log: a failure that nobody was there to catch."""
        text = self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""
        return SLIP.findall(text)

    def server_id(self) -> str:
        """Its id, as long as it has a disk."""
        with contextlib.suppress(OSError):
            return (self.data_dir / "server/node-id").read_text().strip()
        return ""

    def claims(self) -> list[Claim]:
        """Each time it says that it began to lead."""
        return [
            Claim(server=self.name, term=int(each["term"]), index=int(each["index"]))
            for each in self.events()
            if each.get("@message") == "cluster leadership acquired"
        ]


class Cluster:
    """Some servers that find each other by their key. Use it as a context.

    With "" for a key their ports are open.
    """

    def __init__(self, count: int = 3, *, keep: Path | None = None, key: str = KEY) -> None:
        self._count = count
        self._key = key
        self._keep = keep  # where the logs go
        self._exit = contextlib.ExitStack()
        self.wires: Wires
        self.folder: Path
        self.servers: list[Server] = []
        self.spare: Server | None = None  # one that was here, and may come again

    def __enter__(self) -> Self:
        # Not below a test's own folder: the path of a Unix socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="bc-"))
        self._exit.callback(shutil.rmtree, self.folder)
        self.wires = self._exit.enter_context(wires())
        self._exit.callback(self._end)
        places = [self.wires.place(number) for number in range(1, self._count + 1)]
        join = [f"{place.server_ip}:{place.serf}" for place in places]
        for place in places:
            self._add(place, join, self._count)
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def _add(self, place: Place, join: list[str], expect: int) -> Server:
        name = f"s{place.number}"
        server = Server(name, self.folder / name, place, join, expect, self._key)
        self.servers.append(server)
        return server

    def add(self) -> Server:
        """One server more, which joins the others when it is started."""
        if self.spare is not None:
            server, self.spare = self.spare, None
            self.servers.append(server)
            return server
        join = [server.serf_address for server in self.servers]
        return self._add(self.wires.place(len(self.servers) + 1), join, 0)

    def take_away(self, server: Server) -> None:
        """End a server and its disk; the next one that is added has its name and place."""
        server.kill()
        server.wipe()
        self.servers.remove(server)
        self.spare = server

    def all(self) -> list[Server]:
        """With the one that was here."""
        return self.servers + ([self.spare] if self.spare else [])

    def _end(self) -> None:
        for server in self.all():
            server.kill()
            if self._keep is not None and server.log_path.exists():
                shutil.copy(server.log_path, self._keep / f"{server.name}.log")
            server.unmount()

    def start(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def stop(self) -> None:
        """SIGTERM to all at once."""
        for server in self.servers:
            if server.runs and server.process is not None:
                server.process.terminate()
        for server in self.servers:
            if server.runs:
                server.stop()

    # Questions

    def leader(self) -> Server | None:
        """The server that most running servers take for the leader."""
        said = [each.leader_address() for each in self.servers if each.runs]
        named = [address for address in said if address]
        if not named:
            return None
        address = max(set(named), key=named.count)
        return next((each for each in self.servers if each.rpc_address == address), None)

    def wait_for_leader(self, timeout_s: float = SETTLE_S) -> Server:
        """The leader, as soon as every running server that answers names the same one."""

        def agreed() -> Server | None:
            ended = [each.name for each in self.servers if not each.stopped and not each.runs]
            assert not ended, f"{ended} ended\n{self.tail()}"
            said = {each.leader_address() for each in self.servers if each.runs}
            return self.leader() if len(said) == 1 and "" not in said else None

        return wait_until(agreed, timeout_s, "a leader all agree on", self.tail)

    def wait_until_healthy(self, voters: int, timeout_s: float = SETTLE_S) -> None:
        """Return when autopilot calls the cluster healthy, with that many of us as voters."""

        def healthy() -> bool:
            # A server that was wiped a moment ago has another id than the one that looks healthy.
            ids = {server.server_id() for server in self.servers}
            return any(server.calls_healthy(ids, voters) for server in self.servers)

        wait_until(healthy, timeout_s, f"a healthy cluster of {voters} voters", self.tail)

    def is_whole(self) -> bool:
        """Whether all are there and agree on the leader, and health has no complaint.

        Health alone is not enough: it is up to two seconds old.
        """
        if not all(server.runs and server.etcd() for server in self.servers):
            return False
        ids = {server.server_id() for server in self.servers}
        said = {server.leader_address() for server in self.servers}
        return len(said) == 1 and any(
            server.calls_healthy(ids, len(ids)) for server in self.servers
        )

    def wait_until_equal(self, timeout_s: float = SETTLE_S) -> Copy:
        """The state, as soon as all running servers hold the very same."""

        def equal() -> Copy | None:
            copies = set()
            for server in self.servers:
                if server.runs:
                    with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                        copies.add(server.copy())
                        continue
                    return None
            return copies.pop() if len(copies) == 1 else None

        return wait_until(equal, timeout_s, "the same state on all servers", self.tail)

    def claims(self) -> list[Claim]:
        return [claim for server in self.all() for claim in server.claims()]

    def tail(self) -> str:
        """The last words of every server, for who has to find out what went wrong."""
        parts = []
        for server in self.servers:
            text = server.log_path.read_text("utf-8", "replace") if server.log_path.exists() else ""
            lines = "\n".join(text.splitlines()[-25:])
            end = server.process.returncode if server.process is not None else None
            parts.append(f"--- {server.name} (runs: {server.runs}, ended with: {end})\n{lines}")
        return "\n".join(parts)

    def left_behind(self) -> list[str]:
        """Processes that still have to do with this cluster."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = process.info["cmdline"] or []
            if any(str(self.folder) in word for word in words) and process.pid != os.getpid():
                found.append(f"{process.pid}: {' '.join(words)[:200]}")
        for server in self.all():
            found += [f"{each.pid}: {each.name()}" for each in server.etcd()]
        return found


def wait_until(
    look: Callable[[], Any], timeout_s: float, what: str, explain: Callable[[], str] = str
) -> Any:
    """The first true answer of `look`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (answer := look()) not in {None, False}:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"no sight of {what} within {timeout_s:g} s\n{explain()}")
