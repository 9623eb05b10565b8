"""One command line run in this process, and a small HTTP server that answers from a script."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Result:
    status: int
    out: str
    err: str


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Scripted:
    """Answers by `METHOD /path?query`; a list of answers is used up one by one."""

    address: str
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(
        self, what: str, body: Any = b"", status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.answers.setdefault(what, []).append((status, data, headers or {}))

    def answer(self, what: str) -> tuple[int, bytes, dict[str, str]]:
        script = self.answers.get(what) or self.answers.get(what.partition("?")[0])
        if not script:
            return 404, b"", {}
        return script.pop(0) if len(script) > 1 else script[0]


def _handler(scripted: Scripted) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            request = Request(self.command, self.path, dict(self.headers), body)
            scripted.requests.append(request)
            status, data, headers = scripted.answer(f"{self.command} {self.path}")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815  the library's names

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted("")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(scripted))
    httpd.daemon_threads = True
    scripted.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield scripted
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without anything that a command reads."""
    for name in list(os.environ):
        if name.startswith(("NOMAD_", "BELLCOW_", "COMP_")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def cli(
    environment: pytest.MonkeyPatch, capfdbinary: Any, request: pytest.FixtureRequest
) -> Callable[..., Result]:
    """Run one command line, as `nomad` unless told otherwise, against the scripted server."""
    if "server" in request.fixturenames:
        scripted = request.getfixturevalue("server")
        environment.setenv("NOMAD_ADDR", scripted.address)

    def go(*words: str, stdin: bytes | None = None, program: str = "nomad") -> Result:
        with contextlib.ExitStack() as stack:
            if stdin is not None:
                reader = io.TextIOWrapper(io.BytesIO(stdin))
                old, sys.stdin = sys.stdin, reader
                stack.callback(lambda: setattr(sys, "stdin", old))
            status = run([program, *words])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Result(status, out.decode(), err.decode())

    return go
