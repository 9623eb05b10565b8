"""Certificates as others read them: OpenSSL's own checker, and keys of other kinds."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

from bellcow.cli.commands.tls.authority import AS_CLIENT, AS_SERVER, Pair, Subject, make_authority
from bellcow.cli.commands.tls.authority import make_certificate as make
from bellcow.errors import Error

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
SUBJECT = Subject(["server.global.nomad", "localhost"], ["10.0.0.5"], [AS_SERVER, AS_CLIENT])


def verified(folder: Path, ca: Pair, made: Pair, *words: str) -> str:
    """What `openssl verify` makes of it, in its strict mode."""
    (folder / "ca.pem").write_text(ca.cert)
    (folder / "made.pem").write_text(made.cert)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", *words, "-CAfile", "ca.pem", "made.pem"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not there")
@pytest.mark.parametrize("domains", [[], ["nomad", "localhost"]])
def test_openssl_has_nothing_to_say(tmp_path: Path, domains: list[str]):
    ca = make_authority("", domains, 10, NOW)
    made = make(ca, SUBJECT, 5, NOW)
    for words in (
        ("-purpose", "sslserver", "-verify_hostname", "server.global.nomad"),
        ("-purpose", "sslserver", "-verify_ip", "10.0.0.5"),
        ("-purpose", "sslclient"),
    ):
        assert verified(tmp_path, ca, made, *words) == "made.pem: OK\n"
    assert "mismatch" in verified(tmp_path, ca, made, "-verify_hostname", "server.eu.nomad")


def another_authority(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> Pair:
    """Made elsewhere: no key identifier, a key of another kind."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, algorithm)
    )
    pem = serialization.Encoding.PEM
    form, lock = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Pair(cert.public_bytes(pem).decode(), key.private_bytes(pem, form, lock).decode())


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_an_authority_made_elsewhere_signs_too(kind: str):
    key = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    ca = another_authority(key)
    made = x509.load_pem_x509_certificate(make(ca, SUBJECT, 5, NOW).cert.encode())
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.cert.encode()))


def test_each_authority_has_a_name_and_each_certificate_a_number_of_its_own():
    one, other = (make_authority("", [], 10, NOW) for _ in range(2))
    named = [x509.load_pem_x509_certificate(ca.cert.encode()).subject for ca in (one, other)]
    assert named[0] != named[1]
    numbers = {
        x509.load_pem_x509_certificate(make(one, SUBJECT, 5, NOW).cert.encode()).serial_number
        for _ in range(3)
    }
    assert len(numbers) == 3


def test_a_machine_whose_clock_is_behind_may_use_it():
    made = make(make_authority("", [], 10, NOW), SUBJECT, 5, NOW)
    cert = x509.load_pem_x509_certificate(made.cert.encode())
    assert cert.not_valid_before_utc < NOW - timedelta(minutes=4)


def test_a_certificate_does_not_outlive_its_authority():
    ca = make_authority("", [], 10, NOW)
    with pytest.raises(Error, match="the authority itself ends in 9 days; give -days=9"):
        make(ca, SUBJECT, 10, NOW)
    make(ca, SUBJECT, 9, NOW)
