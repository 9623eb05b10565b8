from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bellcow.cli.shell.client import Client
from bellcow.cli.shell.errors import RequestError
from bellcow.cli.shell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


PATH = "/v1/operator/raft/configuration"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(("method", "word"), [("GET", "Get"), ("PUT", "Put"), ("DELETE", "Delete")])
def test_a_refused_connection_is_worded_as_by_go(method: str, word: str) -> None:
    where = f"127.0.0.1:{free_port()}"
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=f"http://{where}", region="mars")).request(method, PATH)
    assert caught.value.message == (
        f'{word} "http://{where}{PATH}?region=mars": dial tcp {where}: connect: connection refused'
    )


def test_an_unknown_host_is_worded_as_by_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RequestError, match=r"dial tcp: lookup no\.such\.host: no such host$"):
        Client(Settings(address="http://no.such.host:1")).get(PATH)


def test_an_answer_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    class Cuts(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with socketserver.TCPServer(("127.0.0.1", 0), Cuts) as tcp:
        thread = threading.Thread(target=tcp.handle_request)
        thread.start()
        answer = Client(Settings(address=f"http://127.0.0.1:{tcp.server_address[1]}")).send(
            "GET", "/v1/x"
        )
        with pytest.raises(RequestError, match=r"^unexpected EOF$"):
            answer.body()
        thread.join()


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=f"unix://{path}")).get("/v1/x")
    assert f"dial unix {path}: connect: no such file or directory" in caught.value.message


def test_tls_to_a_plain_port_is_named_as_such(server: Any) -> None:
    address = server.address.replace("http:", "https:")
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=address)).get("/v1/x")
    assert caught.value.message == (
        f'Get "{address}/v1/x": http: server gave HTTP response to HTTPS client'
    )
