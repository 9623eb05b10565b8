from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bellcow.cli.shell import client as client_module
from bellcow.cli.shell.client import Client
from bellcow.cli.shell.errors import RequestError
from bellcow.cli.shell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_every_request_has_the_common_parameters_and_headers(server: Any) -> None:
    settings = Settings(
        address=server.address + "/", region="r", namespace="n", token="s", http_auth="u:p"
    )
    server.on("GET /v1/x", {"a": 1})
    assert Client(settings).get("/v1/x", stale="") == {"a": 1}
    request = server.requests[0]
    assert request.target == "/v1/x?namespace=n&region=r&stale="
    assert request.headers["X-Nomad-Token"] == "s"
    assert request.headers["authorization"] == "Basic dTpw"


def test_a_path_with_a_query_keeps_it(server: Any) -> None:
    server.on("GET /v1/x", [])
    Client(Settings(address=server.address, region="r")).get("/v1/x?a=1&a=2")
    assert server.requests[0].target == "/v1/x?a=1&a=2&region=r"


def test_a_refusal_keeps_the_words_of_the_server(server: Any) -> None:
    server.on("GET /v1/x", b"1 error occurred:\n\t* no\n\n", 403)
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=server.address)).get("/v1/x")
    assert caught.value.message == ("Unexpected response code: 403 (1 error occurred:\n\t* no\n\n)")
    assert (caught.value.status, caught.value.body) == (403, "1 error occurred:\n\t* no\n\n")


def test_an_answer_that_is_no_json_names_the_request(server: Any) -> None:
    server.on("GET /v1/x", b"<html>")
    with pytest.raises(RequestError, match=r"the answer of http://.*/v1/x is not JSON"):
        Client(Settings(address=server.address)).get("/v1/x")


def test_an_empty_answer_to_a_put_is_nothing(server: Any) -> None:
    server.on("PUT /v1/x", b"")
    assert Client(Settings(address=server.address)).put("/v1/x", {"A": 1}) is None
    assert server.requests[0].json == {"A": 1}


def test_a_password_in_the_address_is_used_and_never_shown(server: Any) -> None:
    server.on("GET /v1/x", b"null")
    address = server.address.replace("://", "://u:p%40ss@")
    client = Client(Settings(address=address))
    client.get("/v1/x")
    assert server.requests[0].headers["authorization"] == "Basic dTpwQHNz"
    assert client.url("/v1/x") == f"{server.address}/v1/x"


def test_the_path_of_an_address_is_ignored(server: Any) -> None:
    server.on("GET /v1/x", b"null")
    Client(Settings(address=f"{server.address}/some/where/")).get("/v1/x")
    assert server.requests[0].target == "/v1/x"


def test_without_an_address_the_hint_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setattr(client_module, "DEFAULT_ADDRESS", address)
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=address)).get("/v1/x")
    assert "BELLCOW_ADDR" in caught.value.hint


def test_a_server_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "_AGAIN", False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(Settings(address=address))
        with pytest.raises(RequestError, match=r"/v1/x\": i/o timeout: the server received"):
            client.send("GET", "/v1/x", read_s=0.05)


class _Hangs(socketserver.BaseRequestHandler):
    """Takes the request and closes without an answer; counts how often."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.server.count += 1  # type: ignore[attr-defined]


@pytest.fixture
def closing() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Hangs) as tcp:
        tcp.count = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=tcp.serve_forever, args=(0.01,))
        thread.start()
        yield tcp
        tcp.shutdown()
        thread.join()


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("PUT", 1), ("DELETE", 1)])
def test_only_a_get_is_sent_again_when_the_connection_breaks(
    closing: Any, method: str, times: int
) -> None:
    address = f"http://127.0.0.1:{closing.server_address[1]}"
    with pytest.raises(RequestError, match=f'^{method.capitalize()} "{address}/v1/x": EOF$'):
        Client(Settings(address=address)).request(method, "/v1/x")
    assert closing.count == times
