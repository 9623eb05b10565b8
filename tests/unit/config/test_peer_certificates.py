"""Certificates that follow from a key: who believes whom, for which names, at which time."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bellcow.config.peer_certificates import Issued, issue, server_name

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"o" * 32, b"n" * 16
HOSTS = ["127.0.0.1", "::1", "10.0.0.1", "one.example", "no name\n", "é", "10.0.0.1", ""]


def read(issued: Issued) -> x509.Certificate:
    (cert,) = x509.load_pem_x509_certificates(issued.cert)
    return cert


def believed(issued: Issued, by: Issued, at: str, tmp_path: Path, *words: str) -> bool:
    """What OpenSSL says at a time, in seconds."""
    (tmp_path / "ca.pem").write_bytes(by.authorities)
    (tmp_path / "cert.pem").write_bytes(issued.cert)
    files = ["-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "cert.pem")]
    command = ["openssl", "verify", "-x509_strict", "-attime", at, *words, *files]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


NOW = "1800000000"


def test_servers_with_one_key_trust_each_other_alone(tmp_path: Path):
    one, other, stranger = (issue([key], "global", HOSTS) for key in (OLD, OLD, NEW))
    assert read(one).serial_number != read(other).serial_number
    assert load_pem_private_key(one.key, None).public_key() == read(one).public_key()
    for usage in ("sslserver", "sslclient"):
        assert believed(one, other, NOW, tmp_path, "-purpose", usage)
    assert not believed(stranger, one, NOW, tmp_path)
    assert not believed(one, stranger, NOW, tmp_path)


@pytest.mark.parametrize("year", [2000, 2001, 2024, 2038, 2107, 9999])
def test_trust_does_not_depend_on_the_clock(tmp_path: Path, year: int):
    issued = issue([OLD], "global", HOSTS)
    at = int(datetime(year, 6, 1, tzinfo=UTC).timestamp())
    assert believed(issued, issued, str(at), tmp_path)


def test_an_authority_is_the_same_in_every_release():
    """A derivation that changes cuts servers of two releases off from each other."""
    (authority,) = x509.load_pem_x509_certificates(issue([OLD], "global", []).authorities)
    key = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    assert key.digest.hex() == "eb8a50291055244820010021970dd92ac5330771"
    assert authority.subject.rfc4514_string() == f"CN=bellcow servers {key.digest.hex()[:16]}"
    assert authority.serial_number == int(key.digest.hex()[:32], 16) | 1


def test_all_keys_are_believed_and_the_first_one_issues(tmp_path: Path):
    steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
    issued = [issue(keys, "global", HOSTS) for keys in steps]
    taken = [[believed(by, other, NOW, tmp_path) for other in issued] for by in issued]
    assert taken == [
        [True, True, True, False],
        [True, True, True, False],
        [False, True, True, True],
        [False, True, True, True],
    ]


def test_a_certificate_names_the_server_and_all_its_hosts():
    names = read(issue([OLD], "eu", HOSTS)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = names.value.get_values_for_type(x509.IPAddress)
    assert [str(each) for each in addresses] == ["127.0.0.1", "::1", "10.0.0.1"]
    assert names.value.get_values_for_type(x509.DNSName) == ["server.eu.bellcow", "one.example"]


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("global", "server.global.bellcow"),
        ("eu-west_1", "server.eu-west_1.bellcow"),
        ("eu.west", "server.eu.west.bellcow"),
    ],
)
def test_a_region_goes_by_its_name_where_it_can(region: str, name: str):
    assert server_name(region) == name


def test_regions_that_are_no_dns_label_get_distinct_names():
    odd = ["EU", "eu", "é", "a b", "*", "x" * 300, "eu.", ".eu", "-eu", "a\n", "sha256-"]
    names = [server_name(region) for region in odd]
    assert len(set(names)) == len(odd)
    for name in names:
        assert len(name) < 64
        assert name.isascii()
        (named,) = read(issue([OLD], name.split(".")[1], [])).subject
        assert len(str(named.value)) <= 64


def test_python_trusts_an_issued_certificate(tmp_path: Path):
    issued = issue([NEW], "a b", ["127.0.0.1"])
    for name in ("cert", "key"):
        (tmp_path / name).write_bytes(getattr(issued, name))
    server, client = (
        ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    for context in (server, client):
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        context.load_verify_locations(cadata=issued.authorities.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname=server_name("a b"))
    for _ in range(3):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.getpeercert() is not None
    assert (there.getpeercert() or {})["subjectAltName"][0] == ("DNS", server_name("a b"))
