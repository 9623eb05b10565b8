"""TLS contexts: which settings are taken, and what the refusal of a bad file names."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Authority, Pair, shake_hands

from bellcow.config.model import Tls
from bellcow.config.tls import http_context, make_context, reload
from bellcow.errors import Code, Error


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.sign()


def names(side: ssl.SSLObject) -> str:
    return side.getpeercert()["subject"][0][0][1]


def test_a_client_that_trusts_the_authority_gets_through(authority: Authority, pair: Pair):
    side = shake_hands(make_context(pair.cert, pair.key), authority.client_context())
    assert side.version() == "TLSv1.3"


@pytest.mark.parametrize("version", ["", "tls10", "tls11", "tls12"])
def test_nothing_below_1_2_is_spoken_whatever_is_asked_for(pair: Pair, version: str):
    context = make_context(pair.cert, pair.key, min_version=version)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_1_3_alone_can_be_asked_for(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key, min_version="tls13")
    client = authority.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="unsupported protocol"):
        shake_hands(context, client)


def test_the_ciphers_have_the_names_of_go(authority: Authority, pair: Pair):
    names = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
    context = make_context(pair.cert, pair.key, ciphers=names)
    client = authority.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(context, client).cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    offered = {c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"}
    assert offered == {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_version": "tls9"}, 'unsupported TLS version "tls9"'),
        ({"ciphers": "X"}, 'unsupported TLS cipher "X"'),
        ({"ciphers": "TLS_RSA_WITH_RC4_128_SHA"}, "RC4_128_SHA"),
        ({"ciphers": "AES_128_GCM_SHA256"}, "AES_128_GCM_SHA256"),
        ({"verify_client": True}, "ca_file"),
    ],
)
def test_a_bad_setting_is_named(pair: Pair, settings: dict[str, object], message: str):
    with pytest.raises(Error) as caught:
        make_context(pair.cert, pair.key, **settings)
    assert caught.value.code is Code.INVALID
    assert message in caught.value.message


@pytest.mark.parametrize("which", ["cert", "key", "ca"])
@pytest.mark.parametrize("how", ["missing", "a folder", "junk", "empty"])
def test_a_bad_file_is_named(
    authority: Authority, pair: Pair, tmp_path: Path, which: str, how: str
):
    bad = tmp_path / "bad.pem"
    if how == "a folder":
        bad.mkdir()
    elif how != "missing":
        bad.write_text("" if how == "empty" else "-----BEGIN JUNK-----\nx\n")
    files = {"cert": pair.cert, "key": pair.key, "ca": authority.file, which: str(bad)}
    with pytest.raises(Error) as caught:
        make_context(**files)
    assert str(bad) in caught.value.message


def test_the_key_of_another_certificate_is_refused_with_both_names(
    authority: Authority, pair: Pair
):
    other = authority.sign("other")
    with pytest.raises(Error) as caught:
        make_context(pair.cert, other.key)
    assert pair.cert in caught.value.message
    assert other.key in caught.value.message


def test_a_locked_key_is_refused_without_a_prompt(pair: Pair, tmp_path: Path):
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Error, match="locked"):
        make_context(pair.cert, str(locked))


def test_clients_must_show_a_certificate_of_the_authority(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    shake_hands(context, authority.client_context(authority.sign("client")))
    with pytest.raises(ssl.SSLError):
        shake_hands(context, authority.client_context())


def test_a_reload_serves_the_new_certificate(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key)
    assert names(shake_hands(context, authority.client_context())) == "server"
    new = authority.sign("renewed")
    assert reload(context, new.cert, new.key) == 0
    assert names(shake_hands(context, authority.client_context())) == "renewed"


def test_a_reload_with_a_bad_file_changes_nothing(authority: Authority, pair: Pair, tmp_path: Path):
    context = make_context(pair.cert, pair.key, authority.file)
    new = authority.sign("renewed")
    with pytest.raises(Error, match="missing"):
        reload(context, new.cert, new.key, str(tmp_path / "missing.pem"))
    assert names(shake_hands(context, authority.client_context())) == "server"


def test_a_reload_trusts_a_new_authority_and_counts_the_ones_it_can_not_forget(
    authority: Authority, pair: Pair, tmp_path: Path
):
    context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    other = Authority(tmp_path, "other-ca")
    client = authority.client_context(other.sign("client"))
    with pytest.raises(ssl.SSLError):
        shake_hands(context, client)
    assert reload(context, pair.cert, pair.key, other.file) == 1
    shake_hands(context, client)


def test_without_tls_there_is_no_context():
    assert http_context(Tls(cert_file="c", key_file="k")) is None


def test_clients_need_a_certificate_if_the_settings_require_one(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.sign()
    tls = Tls(http=True, cert_file=pair.cert, key_file=pair.key, ca_file=authority.file)
    made = http_context(tls)
    assert made is not None
    assert made.verify_mode is ssl.CERT_NONE
    strict = Tls(
        http=True,
        cert_file=pair.cert,
        key_file=pair.key,
        ca_file=authority.file,
        verify_https_client=True,
        tls_min_version="tls13",
    )
    made = http_context(strict)
    assert made is not None
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_bad_file_of_the_http_api_is_named(tmp_path):
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(Error, match=r"missing\.pem"):
        http_context(Tls(http=True, cert_file=missing, key_file=missing))
