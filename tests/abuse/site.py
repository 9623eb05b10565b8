"""The server under abuse, and the rules that hold for it after every row, whatever the row did.

It is an agent of our own, or any server that the environment names: then what needs the process,
its files or its log is left out.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import psutil
from tests.abuse.wire import Talk, connected, request, talk
from tests.harness import Agent, Answer, until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.abuse.secret_registry import Secrets

MIB = 1 << 20
MEMORY_MIB = 50
ROW_S = 5.0
LEADER_S = 1.0
STATE = (
    "/v1/operator/scheduler/configuration",
    "/v1/operator/autopilot/configuration",
    "/v1/operator/raft/configuration",
    "/v1/operator/license",
    "/v1/acl/policies",
    "/v1/acl/tokens",
    "/v1/namespaces",
)
# Our insides and the machine's: none of it is the client's business.
INSIDES = re.compile(
    r"Traceback \(most|File \"/|site-packages|/bellcow/|\.py\b|uvicorn|uvloop|httptools|msgspec"
    r"|asyncio|sqlite3|OperationalError|KeyError|ValueError|RecursionError|coroutine"
)
# That etcd has ended is told as an error, and some rows end it.
FAULT = re.compile(
    r"^\s*[0-9T:.Z-]+ \[ERROR\] (?!nomad\.etcd: etcd exited unexpectedly)", re.MULTILINE
)
# These exist to tell about the agent: its configuration, its machine, its log.
TALKATIVE = ("/v1/agent/self", "/v1/agent/host", "/v1/agent/monitor", "/ui/")
ARCHIVE = "application/x-gzip"  # the state itself, all of it
# These exist to hand a secret to who may see it.
GIVES_SECRETS = ("/v1/acl/bootstrap", "/v1/acl/token")
# Written by the store, by etcd, by the founding and by a restore as they please.
PASSING_FILES = re.compile(
    r"store\.db-(wal|shm)$|/raft/|bootstrap\.json$|before-restore-[0-9-]+\.snap$"
)
# Settings, or what makes them in the folder of the agent.
Settings = "dict[str, Any] | Callable[[Path], dict[str, Any]]"


class Told(NamedTuple):
    """One answer, and the request that got it."""

    method: str
    target: str
    answer: Answer


class Before(NamedTuple):
    """The server as it was before a row."""

    digest: str
    memory: int
    files: frozenset[str]
    log_size: int


class Site:
    """One server to abuse: `token` is a management token, "" with ACLs off."""

    def __init__(
        self,
        address: tuple[str, int],
        token: str,
        secrets: Secrets,
        agent: Agent | None = None,
        *,
        tls: bool = False,
    ) -> None:
        self.address = address
        self.token = token
        self.secrets = secrets
        self.agent = agent
        self.told: list[Told] = []
        self.tls = tls  # it then speaks to no ordinary client, and only its log is looked at

    # Asking

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        chunked: bool = False,
        host: str = "localhost",
        patience_s: float = 10.0,
    ) -> Answer:
        """One request on a connection of its own, by default with the management token."""
        secret = self.token if token is None else token
        given = {**({"X-Nomad-Token": secret} if secret else {}), **(headers or {})}
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        raw = request(method, target, given, sent, chunked=chunked, host=host)
        return self.raw(raw, patience_s=patience_s).one()

    def raw(self, raw: bytes, **options: Any) -> Heard:
        """Bytes on a connection of their own; what comes back is noted for the rules."""
        return self.raw_at(self.address, raw, **options)

    def raw_at(self, address: tuple[str, int], raw: bytes, **options: Any) -> Heard:
        """The same at another port of the server."""
        heard = Heard(*talk(address, raw, **options))
        first = raw[:4096].split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        target = first[1] if len(first) > 1 else ""
        self.told += [Told(first[0], target, each) for each in heard.answers]
        return heard

    def connected(self, **options: Any) -> contextlib.AbstractContextManager[socket.socket]:
        return connected(self.address, **options)

    def get(self, target: str, **options: Any) -> Answer:
        return self.ask("GET", target, **options)

    def put(self, target: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("PUT", target, body, **options)

    def wrong_token(self, number: int = 0) -> str:
        """A well-formed token that nobody has."""
        return self.secrets.add(f"deadbeef-0000-4000-8000-{number:012x}")

    def make_token(self, name: str, rules: str) -> str:
        """A client token with one policy of its own; its secret."""
        answer = self.put(f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules})
        assert answer.status == 200, answer
        body = {"Name": name, "Type": "client", "Policies": [name]}
        made = self.put("/v1/acl/token", body).json()
        return self.secrets.add(made["SecretID"])

    def accessor_of(self, secret: str) -> str:
        return str(self.get("/v1/acl/token/self", token=secret).json()["AccessorID"])

    def forget(self, *names: str) -> None:
        """Delete what `make_token` made under these names."""
        for stub in self.get("/v1/acl/tokens").json():
            if stub["Name"] in names:
                self.ask("DELETE", f"/v1/acl/token/{stub['AccessorID']}")
        for name in names:
            self.ask("DELETE", f"/v1/acl/policy/{name}")

    # What the process is like

    @property
    def process(self) -> psutil.Process:
        assert self.agent is not None
        assert self.agent.process is not None
        return psutil.Process(self.agent.process.pid)

    @property
    def log(self) -> str:
        return self.agent.log if self.agent is not None else ""

    def digest(self) -> str:
        """A hash of the stored state, as a client with all rights sees it."""
        seen = hashlib.sha256()
        for path in STATE:
            answer = self.get(path)
            assert answer.status == 200 or path.startswith("/v1/acl"), answer
            seen.update(answer.body)
        return seen.hexdigest()

    def _memory(self) -> int:
        return int(self.process.memory_info().rss) if self.agent else 0

    def _files(self) -> frozenset[str]:
        if self.agent is None:
            return frozenset()
        roots = self.agent.data_dir, self.agent.folder / "tmp"
        names = (str(path) for root in roots for path in root.rglob("*"))
        return frozenset(name for name in names if not PASSING_FILES.search(name))

    # The rules

    def look(self) -> Before:
        before = Before(
            self.digest() if not self.tls else "", self._memory(), self._files(), len(self.log)
        )
        self.told.clear()
        return before

    def check(self, before: Before, *, writes: bool, faults: frozenset[int]) -> None:
        """The general rules, after a row. `faults` are the 5xx that the row names."""
        told = list(self.told)
        self._is_alive()
        for each in told:
            self._check_answer(each, faults)
        if not writes and not self.tls:
            assert self.digest() == before.digest, "the stored state has changed"
        if self.agent is None:
            return
        self.until(
            lambda: self._memory() - before.memory <= MEMORY_MIB * MIB,
            f"no more than {MEMORY_MIB} MiB more memory than before",
        )
        self.until(lambda: self._files() == before.files, "files were left behind or are gone")
        self.check_log(self.log[before.log_size :])

    def _is_alive(self) -> None:
        if self.agent is not None:
            assert self.agent.process is not None
            assert self.agent.process.poll() is None, "the server has died"
        if self.tls:
            return
        began = time.monotonic()
        assert self.get("/v1/status/leader").status == 200
        assert time.monotonic() - began < LEADER_S, "the server is not responsive"

    def _check_answer(self, told: Told, faults: frozenset[int]) -> None:
        answer, path = told.answer, told.target.partition("?")[0]
        shown = f"{told.method} {told.target[:200]}: {answer}"
        assert answer.status < 500 or answer.status in faults, shown
        if answer.header("Content-Type") == ARCHIVE:
            return
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers)
        packed = answer.header("Content-Encoding") == "gzip"
        text = headers + (gzip.decompress(answer.body) if packed else answer.body).decode(
            "utf-8", "replace"
        )
        if not path.startswith(GIVES_SECRETS):
            assert not self.secrets.found_in(text), shown
        if not path.startswith(TALKATIVE):
            assert not INSIDES.search(text), shown
            assert self.agent is None or str(self.agent.folder) not in text, shown

    def check_log(self, log: str) -> None:
        """What a log may not hold: faults of ours, secrets, and what a client made invisible."""
        assert "Traceback" not in log, log[-4000:]
        assert not FAULT.search(log), log[-4000:]
        assert not self.secrets.found_in(log), self.secrets.found_in(log)
        strange = {char for char in log if not char.isprintable() and char != "\n"}
        assert not strange, f"control characters in the log: {strange}"

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = 30.0) -> None:
        """Wait for something that a server does in its own time."""
        until(condition, what, patience_s)


class Heard(Talk):
    """What came back, with the question that most rows ask."""

    __slots__ = ()

    def one(self) -> Answer:
        """The one answer, whole."""
        answers = [answer for answer in self.answers if answer.status != 100]
        assert len(answers) == 1, (len(answers), self.closed, self.seconds, self.data[:300])
        return answers[0]


class Sites:
    """Starts servers when they are first asked for, and keeps them for the rows that follow."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        self._folder = folder
        self.secrets = secrets
        self._shared: dict[str, Site] = {}
        self._started: list[Site] = []
        self._count = 0

    @property
    def remote(self) -> str:
        return os.environ.get("BELLCOW_ABUSE_ADDR", "")

    def shared(self, kind: str) -> Site | None:
        """The server of a kind, "acl" or "open"; None when the one that is named is another."""
        if self.remote:
            return self._named(kind)
        site = self._shared.get(kind)
        if site is None or (site.agent and site.agent.process and site.agent.process.poll()):
            site = self._shared[kind] = self.start({}, acl=kind == "acl")
        return site

    def _named(self, kind: str) -> Site | None:
        token = os.environ.get("BELLCOW_ABUSE_TOKEN", "")
        if bool(token) != (kind == "acl"):
            return None
        if token:
            self.secrets.add(token)
        parts = urlsplit(self.remote)
        return Site((parts.hostname or "127.0.0.1", parts.port or 4646), token, self.secrets)

    def start(self, settings: Settings, *, acl: bool) -> Site:
        """A server of its own, bootstrapped when its ACLs are on."""
        folder = self._folder / f"site-{self._count}"
        self._count += 1
        (folder / "tmp").mkdir(parents=True)
        given = settings(folder) if callable(settings) else settings
        for key in folder.rglob("*-key.pem"):
            key.chmod(0o600)
            self.secrets.add_pem(key.read_text())
        base = {"telemetry": {"prometheus_metrics": True}, "acl": {"enabled": acl}}
        agent = Agent(folder, {**base, **given}, environment={"TMPDIR": str(folder / "tmp")})
        tls = bool(given.get("tls", {}).get("http"))
        site = Site(("127.0.0.1", agent.http_port), "", self.secrets, agent, tls=tls)
        self._started.append(site)
        agent.start(wait=not tls)
        if tls:
            site.until(lambda: "answering requests" in site.log, "the agent does not start", 60)
        elif acl:
            site.token = self.secrets.add(agent.bootstrap())
        return site

    @contextlib.contextmanager
    def own(self, settings: Settings, *, acl: bool) -> Iterator[Site]:
        """A server for one row."""
        site = self.start(settings, acl=acl)
        try:
            yield site
        finally:
            assert site.agent is not None
            site.agent.stop()

    def all(self) -> list[Site]:
        """Every server that this run has started, the stopped ones too."""
        return list(self._started)

    def stop(self) -> None:
        for site in self.all():
            assert site.agent is not None
            site.agent.stop()
            site.check_log(site.log)
