"""What is said of a certificate, and that a handshake agrees with it."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from tests.support.certificates import Authority, Pair

from bellcow.config.certificates import Pem, Wanted, command_for, find_flaws
from bellcow.config.tls import make_client_context, make_context

NAME = "server.eu.nomad"
BOTH = (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
WANTED = Wanted(hosts=("10.0.0.5",), name=NAME, region="eu")
MEND = "; make another: bellcow tls cert create -server -region=eu -additional-ipaddress=10.0.0.5"
NOW = datetime.now(UTC)


def flaws(pair: Pair, ca: str, wanted: Wanted = WANTED, now: datetime = NOW) -> list[str]:
    cert, key, authority = (Pem(Path(f).name, Path(f).read_bytes()) for f in (*pair, ca))
    found = list(find_flaws(cert, key, authority, wanted, now))
    assert all(flaw.text.endswith((MEND, "bellcow tls ca create")) for flaw in found)
    return [f"{flaw.grade}: {flaw.text.partition(';')[0]}" for flaw in found]


def good(authority: Authority, **changes) -> Pair:
    asked = {"dns": NAME, "ip": "10.0.0.5", "days": 90, "usages": BOTH}
    return authority.sign(**(asked | changes))


def shaken(pair: Pair, ca: str, host: str) -> bool:
    """Whether two servers with these files come to terms, one called under this name."""
    server = make_context(pair.cert, pair.key, ca, verify_client=True)
    client = make_client_context(pair.cert, pair.key, ca)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=host)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (here, there, here, there):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        there.write(b"x")
        return here.read(1) == b"x"
    except ssl.SSLError:
        return False


CASES = {
    "all is well": ({}, []),
    "no list of usages is good for all": ({"usages": ()}, []),
    "address missing": (
        {"ip": "10.0.0.6"},
        ["unfit: server.pem does not name 10.0.0.5, which is advertised"],
    ),
    "name missing": (
        {"dns": "server.global.nomad"},
        [f"unfit: server.pem does not name {NAME}, which verify_server_hostname asks for"],
    ),
    "server only": (
        {"usages": BOTH[:1]},
        ["unfit: server.pem is not made for use as a TLS client (clientAuth)"],
    ),
    "client only": (
        {"usages": BOTH[1:]},
        ["unfit: server.pem is not made for use as a TLS server (serverAuth)"],
    ),
    "expired": ({"expired": True}, ["broken: server.pem expired on"]),
}


@pytest.mark.parametrize(("changes", "expected"), CASES.values(), ids=CASES)
def test_flaws_are_found_exactly_if_a_handshake_fails(tmp_path, changes, expected):
    authority = Authority(tmp_path)
    pair = good(authority, **changes)
    found = flaws(pair, authority.file)
    assert len(found) == len(expected)
    assert all(one.startswith(text) for one, text in zip(found, expected, strict=True))
    hosts = ("10.0.0.5", NAME)
    assert all(shaken(pair, authority.file, host) for host in hosts) is (expected == [])


def test_another_authority_is_named(tmp_path):
    pair, other = good(Authority(tmp_path)), Authority(tmp_path, "other").file
    assert flaws(pair, other) == [
        "broken: server.pem is signed by none of the authorities in other.pem"
    ]
    assert not shaken(pair, other, NAME)


def test_one_authority_of_several_is_enough(tmp_path):
    mine, other = Authority(tmp_path), Authority(tmp_path, "other")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(other.file).read_bytes() + Path(mine.file).read_bytes())
    pair = good(mine)
    assert flaws(pair, str(both)) == []
    assert shaken(pair, str(both), NAME)


def test_a_certificate_in_between_leads_to_the_authority(tmp_path):
    root = Authority(tmp_path)
    between = root.authority("between")
    pair = good(between)
    assert flaws(pair, root.file) == [
        "broken: server.pem is signed by none of the authorities in ca.pem"
    ]
    assert not shaken(pair, root.file, NAME)
    with Path(pair.cert).open("ab") as file:
        file.write(Path(between.file).read_bytes())
    assert flaws(pair, root.file) == []
    assert shaken(pair, root.file, NAME)


@pytest.mark.parametrize("how", ["issuing alone", "cross-signed", "its own certificate"])
def test_any_certificate_of_the_file_ends_a_chain_as_in_go(tmp_path, how):
    root = Authority(tmp_path, "root")
    issuing = root.authority("issuing")
    pair = good(issuing)
    ca = {
        "issuing alone": issuing.file,
        "cross-signed": Authority(tmp_path, "elder").cross_signed(issuing),
        "its own certificate": pair.cert,
    }[how]
    assert flaws(pair, ca) == []
    assert shaken(pair, ca, NAME)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-4, "broken: server.pem is valid only from 20"),
        (0, ""),
        (59, ""),
        (60.5, "aging: server.pem expires in 29 days, on 20"),
        (89.5, "aging: server.pem expires in 0 days, on 20"),
        (91, "broken: server.pem expired on 20"),
    ],
)
def test_a_coming_expiry_is_reported(tmp_path, days, expected):
    authority = Authority(tmp_path, days=500)
    found = flaws(good(authority), authority.file, now=NOW + timedelta(days=days))
    assert [one[: len(expected)] for one in found] == ([expected] if expected else [])


def test_an_expired_authority_is_reported(tmp_path):
    authority = Authority(tmp_path, days=10)
    assert flaws(good(authority), authority.file, now=NOW + timedelta(days=11)) == [
        "broken: the authority in ca.pem that signed server.pem has expired"
    ]


def test_files_that_are_something_else_are_named(tmp_path):
    authority = Authority(tmp_path)
    one, other = good(authority), good(authority, name="other")
    assert flaws(Pair(one.cert, other.key), authority.file) == [
        "broken: other-key.pem is not the key of the certificate in server.pem"
    ]
    key_problem = "holds no private key in PEM form, or one locked with a password"
    assert flaws(Pair(one.cert, one.cert), authority.file) == [f"broken: server.pem {key_problem}"]
    assert flaws(Pair(one.key, one.key), authority.file) == [
        "broken: server-key.pem holds no certificate in PEM form"
    ]
    assert flaws(one, one.key) == ["broken: server-key.pem holds no certificate in PEM form"]


def test_a_wildcard_is_good_for_a_host_and_not_for_a_role(tmp_path):
    authority = Authority(tmp_path)
    hosts = Wanted(hosts=("one.eu.nomad",), name="", region="eu")
    cert, key = (Pem("c", Path(f).read_bytes()) for f in good(authority, dns="*.eu.nomad"))
    ca = Pem("ca", Path(authority.file).read_bytes())
    assert list(find_flaws(cert, key, ca, hosts, NOW)) == []
    (flaw,) = find_flaws(cert, key, ca, Wanted(hosts=(), name=NAME, region="eu"), NOW)
    assert f"does not name {NAME}" in flaw.text


def test_the_command_has_only_the_needed_flags():
    wanted = Wanted(hosts=("127.0.0.1", "fd00::1", "one.example"), name="", region="global")
    assert command_for(wanted) == (
        "bellcow tls cert create -server -additional-ipaddress=fd00::1 "
        "-additional-dnsname=one.example"
    )
