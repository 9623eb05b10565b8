from __future__ import annotations

import datetime as dt
import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.certificates import Authority, shake_hands

from bellcow.cli.shell import client as client_module
from bellcow.cli.shell.client import Client
from bellcow.cli.shell.errors import CommandError, RequestError
from bellcow.cli.shell.settings import Settings
from bellcow.config.tls import make_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATH = "/v1/operator/raft/configuration"


def test_what_every_request_carries(server: Any) -> None:
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


def test_what_follows_host_and_port_is_left_out(server: Any) -> None:
    server.on("GET /v1/x", b"null")
    Client(Settings(address=f"{server.address}/some/where/")).get("/v1/x")
    assert server.requests[0].target == "/v1/x"


def test_an_address_of_six_groups_is_dialed_in_brackets() -> None:
    assert Client(Settings(address="http://[::1]:1")).where() == "tcp [::1]:1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(("method", "word"), [("GET", "Get"), ("PUT", "Put"), ("DELETE", "Delete")])
def test_nobody_listening_is_told_as_go_does(method: str, word: str) -> None:
    where = f"127.0.0.1:{free_port()}"
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=f"http://{where}", region="mars")).request(method, PATH)
    assert caught.value.message == (
        f'{word} "http://{where}{PATH}?region=mars": dial tcp {where}: connect: connection refused'
    )


def test_where_nobody_listens_by_default_the_ways_to_name_an_address_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(client_module, "DEFAULT_ADDRESS", address)
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=address)).get(PATH)
    assert "BELLCOW_ADDR" in caught.value.hint


def test_an_unknown_host_is_told_as_go_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RequestError, match=r"dial tcp: lookup no\.such\.host: no such host$"):
        Client(Settings(address="http://no.such.host:1")).get(PATH)


def test_a_silent_server_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "_AGAIN", False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(Settings(address=address))
        with pytest.raises(RequestError, match=r"/v1/x\": i/o timeout: the server took"):
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


def test_an_answer_that_is_cut_off_is_told(tmp_path: Path) -> None:
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


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")

    with socketserver.UnixStreamServer(path, Handler) as unix:
        thread = threading.Thread(target=unix.handle_request)
        thread.start()
        assert Client(Settings(address=f"unix://{path}")).get("/v1/x") is True
        thread.join()


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=f"unix://{path}")).get("/v1/x")
    assert f"dial unix {path}: connect: no such file or directory" in caught.value.message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"client_cert": "c"},
            "Error initializing client: Both client cert and client key must be provided",
        ),
        (
            {"ca_cert": "/none.pem"},
            "Error initializing client: Error loading CA File: open /none.pem: no such file",
        ),
        (
            {"client_cert": "/none.pem", "client_key": "/none.key"},
            "Error initializing client: open /none.pem: no such file or directory",
        ),
        ({"address": "http://"}, "Error initializing client: invalid address 'http://': no host"),
        ({"address": "http://h:port"}, "Error initializing client: invalid address"),
        ({"address": "ftp://h"}, 'Error initializing client: unsupported protocol scheme "ftp"'),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError) as caught:
        Client(Settings(**settings))  # type: ignore[arg-type]
    assert caught.value.message.startswith(message)


def test_tls_to_a_plain_port_says_so(server: Any) -> None:
    address = server.address.replace("http:", "https:")
    with pytest.raises(RequestError) as caught:
        Client(Settings(address=address)).get("/v1/x")
    assert caught.value.message == (
        f'Get "{address}/v1/x": http: server gave HTTP response to HTTPS client'
    )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for server.global.nomad and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("server.global.nomad")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> Iterator[Callable[..., Settings]]:
    """A TLS server that answers `true`; makes settings for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as stream:
                    stream.recv(65536)
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
            except OSError:
                pass  # the client did not like the certificate

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as tcp:
        thread = threading.Thread(target=tcp.serve_forever, args=(0.01,))
        thread.start()
        address = f"https://127.0.0.1:{tcp.server_address[1]}"
        yield lambda **more: Settings(address=address, **more)
        tcp.shutdown()
        thread.join()


def test_an_unknown_authority_is_refused(tls: Callable[..., Settings]) -> None:
    with pytest.raises(RequestError, match="x509: self-signed certificate; -ca-cert"):
        Client(tls()).get("/v1/x")


def test_a_known_authority_and_the_right_name_are_accepted(
    tls: Callable[..., Settings], certificate: Path
) -> None:
    settings = tls(ca_cert=str(certificate), tls_server_name="server.global.nomad")
    assert Client(settings).get("/v1/x") is True


def test_an_issuing_authority_is_enough_without_its_root(tmp_path: Path) -> None:
    issuing = Authority(tmp_path, "root").authority("issuing")
    pair = issuing.sign()
    server = make_context(pair.cert, pair.key)
    client = client_module._context(Settings(ca_cert=issuing.file))
    shake_hands(server, client)
    # Python 3.13 sets more flags, which would make one command differ between machines.
    assert client.verify_flags & ssl.VERIFY_X509_STRICT == 0


def test_a_wrong_name_is_refused(tls: Callable[..., Settings], certificate: Path) -> None:
    with pytest.raises(RequestError, match="x509: "):
        Client(tls(ca_cert=str(certificate))).get("/v1/x")


def test_checks_can_be_switched_off(tls: Callable[..., Settings]) -> None:
    assert Client(tls(tls_skip_verify=True)).get("/v1/x") is True
