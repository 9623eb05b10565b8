"""Certificates for tests, made on the spot: an authority, and what it signs."""

from __future__ import annotations

import copy
import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bellcow.config.tls import trust_as_go_does

if TYPE_CHECKING:
    from pathlib import Path

_DAY = dt.timedelta(days=1)


class Pair(NamedTuple):
    """Files of one certificate and its key."""

    cert: str
    key: str


class Authority:
    """Signs certificates and writes them into a folder."""

    def __init__(
        self, folder: Path, name: str = "ca", *, days: float = 1, above: Authority | None = None
    ) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        above = above or self
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = above._builder(self._name, self._key, days)
        builder = builder.add_extension(constraints, critical=True)
        cert = builder.sign(above._key, hashes.SHA256())
        self.file = str(folder / f"{name}.pem")
        _write(self.file, cert.public_bytes(serialization.Encoding.PEM))

    def authority(self, name: str) -> Authority:
        """One that this one vouches for."""
        return Authority(self._folder, name, above=self)

    def cross_signed(self, other: Authority) -> str:
        """The file of this authority's certificate for the name and the key of another one."""
        builder = self._builder(other._name, other._key)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        cert = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        file = str(self._folder / "crossed.pem")
        _write(file, cert.public_bytes(serialization.Encoding.PEM))
        return file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float = 1
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * _DAY)
            .not_valid_after(now + days * _DAY)
        )

    def sign(
        self,
        name: str = "server",
        *,
        expired: bool = False,
        dns: str = "",
        ip: str = "127.0.0.1",
        days: float = 1,
        usages: tuple[x509.ObjectIdentifier, ...] = (),
    ) -> Pair:
        """A certificate for localhost, `dns` and `ip`, by default as server or client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName(
            [
                *(x509.DNSName(each) for each in ("localhost", dns) if each),
                x509.IPAddress(ipaddress.ip_address(ip)),
            ]
        )
        builder = self._builder(subject, key, -1 if expired else days)
        builder = builder.add_extension(names, critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        pair = Pair(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}-key.pem"))
        _write(pair.cert, cert.public_bytes(serialization.Encoding.PEM))
        _write(
            pair.key,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return pair

    def sign_as(self, forger: Pair, name: str, **asked: Any) -> Pair:
        """What a certificate of this authority signs, that is none itself."""
        with open(forger.cert, "rb") as file:  # noqa: PTH123  a path as the settings give it
            cert = x509.load_pem_x509_certificate(file.read())
        with open(forger.key, "rb") as file:  # noqa: PTH123  a path as the settings give it
            key = serialization.load_pem_private_key(file.read(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        false = copy.copy(self)
        false._name, false._key = cert.subject, key
        return false.sign(name, **asked)

    def client_context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """What a client trusts, and shows when asked."""
        context = ssl.create_default_context(cafile=self.file)
        trust_as_go_does(context)  # the certificates here are as bare as an operator's may be
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """A handshake in memory; the client's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    there.write(b"x")
    assert here.read(1) == b"x"
    return here


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123  a path as the settings give it
        file.write(data)
