from __future__ import annotations

import datetime as dt
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.certificates import Authority, shake_hands

from bellcow.cli.shell import connection
from bellcow.cli.shell.client import Client
from bellcow.cli.shell.errors import CommandError, RequestError
from bellcow.cli.shell.settings import Settings
from bellcow.config.tls import make_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    assert Client(Settings(address="http://[::1]:1")).where() == "tcp [::1]:1"


def test_a_unix_socket_can_be_the_address(tmp_path: Path) -> None:
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
    client = connection._context(Settings(ca_cert=issuing.file))
    shake_hands(server, client)
    # Python 3.13 sets more flags, which would make one command differ between machines.
    assert client.verify_flags & ssl.VERIFY_X509_STRICT == 0


def test_a_wrong_name_is_refused(tls: Callable[..., Settings], certificate: Path) -> None:
    with pytest.raises(RequestError, match="x509: "):
        Client(tls(ca_cert=str(certificate))).get("/v1/x")


def test_the_check_of_the_certificate_can_be_switched_off(tls: Callable[..., Settings]) -> None:
    assert Client(tls(tls_skip_verify=True)).get("/v1/x") is True
