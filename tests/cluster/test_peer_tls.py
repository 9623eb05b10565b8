"""Real etcds that trust each other by certificates, and whom their port lets in."""

from __future__ import annotations

import http.client
import shutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from tests.support.certificates import Authority, Pair
from tests.support.etcd import Cluster, needs_etcd, run, short_directory

from bellcow.agent.peer_tls import peer_security
from bellcow.config.model import Settings, Tls
from bellcow.etcd import etcd_pb2 as pb

if TYPE_CHECKING:
    from bellcow.etcd.flags import PeerTls

pytestmark = [needs_etcd, pytest.mark.slow]
NAME = "server.global.nomad"


def tls_of(pair: Pair, ca: str) -> PeerTls:
    """What etcd is told for settings that ask for names."""
    files = {"cert_file": pair.cert, "key_file": pair.key, "ca_file": ca}
    tls = Tls(rpc=True, verify_server_hostname=True, **files)
    made = peer_security(Settings(tls=tls), [], None).etcd
    assert made is not None
    return made


def number(pem: str) -> int:
    return x509.load_pem_x509_certificate(Path(pem).read_bytes()).serial_number


def shown_at(address: str, ca: str, pair: Pair | None) -> int:
    """Ask the port of an etcd something; the number of the certificate it shows."""
    context = ssl.create_default_context(cafile=ca)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    connection = http.client.HTTPSConnection(address, context=context, timeout=5)
    try:
        connection.request("GET", "/version")
        socket: Any = connection.sock
        shown = socket.getpeercert(binary_form=True)
        assert connection.getresponse().status == 200
    finally:
        connection.close()
    return x509.load_der_x509_certificate(shown).serial_number


def test_members_come_to_terms_and_nobody_else_gets_in(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    pair = authority.sign(dns=NAME)
    strangers = {
        "nobody": None,
        "a client": authority.sign("client", dns="client.global.nomad"),
        "another region's server": authority.sign("eu", dns="server.eu.nomad"),
        "another authority's server": other.sign("stranger", dns=NAME),
        "a server of the past": authority.sign("old", dns=NAME, expired=True),
    }

    async def story() -> None:
        with short_directory() as directory:
            async with Cluster(directory, tls=tls_of(pair, authority.file)) as cluster:
                leader = await cluster.leader()
                status = await leader.client.status(pb.StatusRequest())
                assert status.leader
                for server in cluster.servers.values():
                    address = server.plan.advertise
                    assert shown_at(address, authority.file, pair) == number(pair.cert)
                    for who, shows in strangers.items():
                        with pytest.raises((OSError, http.client.HTTPException)):
                            pytest.fail(f"{who}: {shown_at(address, authority.file, shows)}")

    run(story())


def test_new_files_are_shown_with_the_next_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, new = authority.sign(dns=NAME), authority.sign("new", dns=NAME)

    async def story() -> None:
        with short_directory() as directory:
            async with Cluster(directory, tls=tls_of(pair, authority.file)) as cluster:
                address = (await cluster.leader()).plan.advertise
                old = number(pair.cert)
                assert shown_at(address, authority.file, pair) == old
                for there, here in zip(pair, new, strict=True):
                    shutil.copy(here, there)
                assert shown_at(address, authority.file, pair) == number(new.cert) != old
                await (await cluster.leader()).client.txn(pb.TxnRequest())

    run(story())
