"""Creates certificate authorities, and the certificates of servers, clients and users.

PEM texts in and out; the time is an argument and no file is read. Every refusal is an `Error`.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bellcow.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_CLOCKS_APART = timedelta(minutes=5)  # so that a machine whose clock is behind accepts it at once
_NO_HASH = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
AS_SERVER, AS_CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Pair(NamedTuple):
    """A certificate and its key."""

    cert: str
    key: str


class Subject(NamedTuple):
    """The holder of a certificate; the first name becomes the common name."""

    names: Sequence[str]
    addresses: Sequence[str]
    usages: Sequence[x509.ObjectIdentifier]


def make_authority(name: str, domains: Sequence[str], days: int, now: datetime) -> Pair:
    """A new authority. With `domains` it can sign for names below these only."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    itself = _called(name or f"Nomad Agent CA {serial}")
    builder = (
        _begun(itself, itself, key, now, days)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    if domains:
        permitted = [x509.DNSName(_name(domain)) for domain in domains]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_certificate(by: Pair, subject: Subject, days: int, now: datetime) -> Pair:
    """A certificate signed by the authority.

    Raises:
        invalid: the authority may not sign for a name, or ends before the certificate would.
    """
    authority, signer = _read(by)
    names = [_name(each) for each in subject.names]
    _check_allowed(authority, names)
    if now + timedelta(days=days) > authority.not_valid_after_utc:
        left = max(0, (authority.not_valid_after_utc - now).days)
        raise invalid(
            f"the authority itself ends in {left} days; give -days={left} or make another"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    listed = [*map(x509.DNSName, names), *map(x509.IPAddress, map(_address, subject.addresses))]
    builder = (
        _begun(_called(names[0]), authority.subject, key, now, days)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName(listed), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(subject.usages), critical=False)
        .add_extension(_id_of(authority), critical=False)
    )
    algorithm = None if isinstance(signer, _NO_HASH) else hashes.SHA256()
    return _pair(builder.sign(signer, algorithm), key)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _called(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise invalid(f"a name of 1 to 64 characters is needed: {name!r}") from None


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _id_of(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The key identifier: it distinguishes authorities of one name."""
    make = x509.AuthorityKeyIdentifier
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        key: Any = authority.public_key()
        return make.from_issuer_public_key(key)
    return make.from_issuer_subject_key_identifier(own.value)


def _read(by: Pair) -> tuple[x509.Certificate, Any]:
    try:
        authority = x509.load_pem_x509_certificate(by.cert.encode())
    except ValueError:
        raise invalid("the file of the authority holds no certificate in PEM form") from None
    try:
        key = serialization.load_pem_private_key(by.key.encode(), None)
    except (ValueError, TypeError):
        what = "holds no private key in PEM form, or one locked with a password"
        raise invalid(f"the file of the authority's key {what}") from None
    if key.public_key() != authority.public_key():
        raise invalid("the key is not that of the authority")
    return authority, key


def _check_allowed(authority: x509.Certificate, names: Sequence[str]) -> None:
    """Check that the authority may sign for the names; else handshakes would fail.

    Raises:
        invalid: it may not sign for one of them.
    """
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return
    allowed = [each.value for each in found.value.permitted_subtrees or ()]
    for name in names:
        if not any(name == each or name.endswith(f".{each}") for each in allowed):
            known = ", ".join(allowed)
            raise invalid(f"the authority may not sign for {name}, only for names in {known}")


def _name(text: str) -> str:
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise invalid(f"not a DNS name: {text!r}")
    return text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise invalid(f"not an IP address: {text!r}") from None


def _pair(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(cert.public_bytes(serialization.Encoding.PEM).decode(), private.decode())
