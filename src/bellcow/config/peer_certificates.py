"""Certificates between servers that are derived from the shared key alone.

Each key yields one certificate authority, the same on every server that has the key. Keys and names
in, PEM out: no file, clock or setting is read. Libraries are imported late: a server without a key
needs none of them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, KeyUsage, Name

ENDING = "bellcow"  # suffix of the name that proves a certificate to be a server's
_CONTEXT = b"bellcow certificate authority between servers, 1"
# The order of the group of P-256 (FIPS 186-4, D.1.2.3): private keys are below it.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SEED_BYTES = (
    48  # 16 more than a private key, so that the remainder favors none (FIPS 186-5, A.2.1)
)
# A wrong clock must not separate servers: these are the widest dates that every library accepts.
_FROM = datetime(2000, 1, 1)  # noqa: DTZ001  the builder takes UTC without saying so
_UNTIL = datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001  RFC 5280: no end is known
_LABELS = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,40}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,40}[a-z0-9_])?)?"
)
_NAME_CHARS = 253  # of a name in DNS, RFC 1035


class Issued(msgspec.Struct, frozen=True):
    """A certificate, its private key, and all trusted authorities, in PEM."""

    cert: bytes
    key: bytes
    authorities: bytes


def server_name(region: str) -> str:
    """The DNS name in the certificate of every server of a region.

    A region that is no valid DNS label is replaced by its digest.
    """
    if not _LABELS.fullmatch(region):
        region = f"sha256-{hashlib.sha256(region.encode()).hexdigest()[:40]}"
    return f"server.{region}.{ENDING}"


def issue(keys: Sequence[bytes], region: str, hosts: Iterable[str]) -> Issued:
    """A new certificate for a server of `region` at `hosts`, signed by the first key's authority.

    `hosts` are addresses and names. The certificate is valid for both sides of a connection. The
    authorities of all keys are trusted.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    authorities = [_private_key(key) for key in keys]
    issuer = authorities[0]
    own = ec.generate_private_key(ec.SECP256R1())
    name = server_name(region)
    usages = x509.ExtendedKeyUsage([Usage.SERVER_AUTH, Usage.CLIENT_AUTH])
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    builder = (
        _builder(_named(name), _name_of(issuer), own, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(x509.SubjectAlternativeName([*_names(name, hosts)]), critical=False)
        .add_extension(by, critical=False)
    )
    cert = builder.sign(issuer, hashes.SHA256())
    return Issued(_pem(cert), _key_pem(own), b"".join(map(_authority, authorities)))


def _private_key(key: bytes) -> EllipticCurvePrivateKey:
    """The authority's private key, derived from the shared key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    seed = HKDF(hashes.SHA256(), _SEED_BYTES, salt=None, info=_CONTEXT).derive(key)
    return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def _authority(own: EllipticCurvePrivateKey) -> bytes:
    """The authority's certificate. The signature differs on each server; subject, key and
    serial do not.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    itself = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    serial = int.from_bytes(itself.digest[:16], "big") | 1
    builder = (
        _builder(_name_of(own), _name_of(own), own, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(itself, critical=False)
    )
    return _pem(builder.sign(own, hashes.SHA256()))


def _name_of(authority: EllipticCurvePrivateKey) -> Name:
    """A subject for each key, so that a certificate of another key is recognized as such."""
    from cryptography import x509

    digest = x509.SubjectKeyIdentifier.from_public_key(authority.public_key()).digest
    return _named(f"bellcow servers {digest.hex()[:16]}")


def _named(text: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # its most, RFC 5280


def _builder(
    subject: Name, issuer: Name, key: EllipticCurvePrivateKey, serial: int
) -> CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )


def _names(name: str, hosts: Iterable[str]) -> Iterator[GeneralName]:
    """The names of the certificate. A host that no certificate can name is left out."""
    from cryptography import x509

    yield x509.DNSName(name)
    for host in dict.fromkeys(hosts):
        try:
            yield x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            if host and host.isascii() and host.isprintable() and len(host) <= _NAME_CHARS:
                yield x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(cert: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return cert.public_bytes(Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
