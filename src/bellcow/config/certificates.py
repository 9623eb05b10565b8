"""Flaws of a server's certificate: what the other servers would refuse.

Pure: certificates, names and the time in, sentences out; it reads no file, clock or setting.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

AGING_DAYS = 30
_LINKS = 8  # longest chain between a server's certificate and its authority's


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the certificate must be valid for. `name` is "" if names are not verified."""

    hosts: tuple[str, ...]
    name: str
    region: str


class Pem(msgspec.Struct, frozen=True):
    """The content of one file, and its name for messages."""

    file: str
    text: bytes


class Flaw(msgspec.Struct, frozen=True):
    """One flaw of a certificate.

    `broken` is refused by every peer and client, `unfit` by the other servers, `aging` soon.
    """

    grade: Literal["broken", "unfit", "aging"]
    text: str


def find_flaws(cert: Pem, key: Pem, ca: Pem, wanted: Wanted, now: datetime) -> Iterator[Flaw]:
    """All flaws, each with the command that mends it."""
    mend = f"; make another: {command_for(wanted)}"
    chain, authorities = read_certificates(cert.text), read_certificates(ca.text)
    for found, pem in ((chain, cert), (authorities, ca)):
        if not found:
            yield Flaw("broken", f"{pem.file} holds no certificate in PEM form{mend}")
    if not chain:
        return
    yield from _key_flaws(chain[0], key, cert.file, mend)
    if authorities:
        yield from _chain_flaws(chain, authorities, cert.file, ca.file, mend, now)
    yield from _date_flaws(chain[0], cert.file, mend, now)
    names = _names_of(chain[0])
    for host in wanted.hosts:
        if not _is_for(names, host):
            yield Flaw("unfit", f"{cert.file} does not name {host}, which is advertised{mend}")
    # Peers require this very name: a wildcard does not prove the role.
    if wanted.name and wanted.name not in names:
        why = "which verify_server_hostname asks for"
        yield Flaw("unfit", f"{cert.file} does not name {wanted.name}, {why}{mend}")
    for role in _missing_roles(chain[0]):
        yield Flaw("unfit", f"{cert.file} is not made for use as a TLS {role}{mend}")


def find_date_flaws(cert: Pem, wanted: Wanted, now: datetime) -> Iterator[Flaw]:
    """The flaws of the certificate's dates alone."""
    for leaf in read_certificates(cert.text)[:1]:
        mend = f"; make another: {command_for(wanted)}"
        yield from _date_flaws(leaf, cert.file, mend, now)


def command_for(wanted: Wanted) -> str:
    """The command that makes the wanted certificate."""
    words = ["bellcow tls cert create -server"]
    if wanted.region != "global":
        words.append(f"-region={wanted.region}")
    words += [
        f"-additional-{'ipaddress' if _ip(host) else 'dnsname'}={host}"
        for host in wanted.hosts
        if host not in {"127.0.0.1", "localhost"}  # in every certificate that the command makes
    ]
    return " ".join(words)


def read_certificates(text: bytes) -> list[Certificate]:
    """All certificates of a PEM file; none if it is malformed."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        return []


def _key_flaws(leaf: Certificate, key: Pem, cert_file: str, mend: str) -> Iterator[Flaw]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "holds no private key in PEM form, or one locked with a password"
        yield Flaw("broken", f"{key.file} {what}{mend}")
        return
    if private.public_key() != leaf.public_key():
        yield Flaw("broken", f"{key.file} is not the key of the certificate in {cert_file}{mend}")


def _chain_flaws(
    chain: Sequence[Certificate],
    authorities: Sequence[Certificate],
    cert_file: str,
    ca_file: str,
    mend: str,
    now: datetime,
) -> Iterator[Flaw]:
    if not _leads_to(chain, authorities):
        yield Flaw("broken", f"{cert_file} is signed by none of the authorities in {ca_file}{mend}")
    elif not _leads_to(chain, [each for each in authorities if now < each.not_valid_after_utc]):
        what = f"the authority in {ca_file} that signed {cert_file} has expired"
        yield Flaw("broken", f"{what}; make another: bellcow tls ca create")


def _leads_to(chain: Sequence[Certificate], authorities: Sequence[Certificate]) -> bool:
    """Whether the first certificate is an authority's or signatures lead from it to one."""
    at: Certificate | None = chain[0]
    for _ in range(_LINKS):
        if at is None:
            return False
        here = at
        if any(here == by or _is_signed(here, by) for by in authorities):
            return True
        at = next((by for by in chain[1:] if by != here and _is_signed(here, by)), None)
    return False


def _is_signed(cert: Certificate, by: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        cert.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _date_flaws(leaf: Certificate, cert_file: str, mend: str, now: datetime) -> Iterator[Flaw]:
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    days = (ends - now).days
    if now < begins:
        yield Flaw("broken", f"{cert_file} is valid only from {begins:%Y-%m-%d %H:%M} UTC{mend}")
    elif now >= ends:
        yield Flaw("broken", f"{cert_file} expired on {ends:%Y-%m-%d %H:%M} UTC{mend}")
    elif days < AGING_DAYS:
        what = f"{cert_file} expires in {days} days, on {ends:%Y-%m-%d %H:%M} UTC"
        yield Flaw("aging", f"{what}{mend}")


def _names_of(leaf: Certificate) -> set[Any]:
    """The addresses and names that the certificate is valid for. The subject does not count."""
    from cryptography import x509

    listed: type[Any] = x509.SubjectAlternativeName
    try:
        names: Any = leaf.extensions.get_extension_for_class(listed).value
    except x509.ExtensionNotFound:
        return set()
    kinds = (x509.IPAddress, x509.DNSName)
    return {name for kind in kinds for name in names.get_values_for_type(kind)}


def _is_for(names: set[Any], host: str) -> bool:
    ip = _ip(host)
    if ip is not None:
        return ip in names
    wanted = host.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    return any(str(name).lower() in {wanted, f"*.{parent}"} for name in names)


def _missing_roles(leaf: Certificate) -> Iterator[str]:
    """The usages that the certificate lacks. One without a list of usages allows all of them."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    for usage, role in (
        (Usage.SERVER_AUTH, "server (serverAuth)"),
        (Usage.CLIENT_AUTH, "client (clientAuth)"),
    ):
        if usage not in usages:
            yield role


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
