"""From settings to what the HTTP listener is told."""

from __future__ import annotations

import ssl

import pytest
from tests.sim.certificates import Authority

from bellcow.agent.listening import http_context, http_limits, peer_limits
from bellcow.api.internal import LIMITS
from bellcow.config.model import Limits, Tls
from bellcow.errors import Error
from bellcow.wire import Duration


def test_limits_are_those_of_the_settings():
    made = http_limits(
        Limits(https_handshake_timeout=Duration.seconds(2), http_max_conns_per_client=7)
    )
    assert (made.handshake_s, made.connections_per_client) == (2.0, 7)


def test_handshake_of_zero_seconds_has_no_limit():
    none = Limits(https_handshake_timeout=Duration(0), rpc_handshake_timeout=Duration(0))
    assert (http_limits(none).handshake_s, peer_limits(none).handshake_s) == (0.0, 0.0)


def test_servers_have_limits_of_their_own():
    made = peer_limits(
        Limits(rpc_handshake_timeout=Duration.seconds(3), rpc_max_conns_per_client=30)
    )
    assert (made.handshake_s, made.connections_per_client) == (3.0, 1200)


def test_servers_without_settings_have_what_is_the_default_between_them():
    assert peer_limits(Limits()) == LIMITS


def test_servers_have_as_many_connections_as_they_like_where_the_settings_say_so():
    assert peer_limits(Limits(rpc_max_conns_per_client=0)).connections_per_client == 0


def test_without_tls_there_is_no_context():
    assert http_context(Tls(cert_file="c", key_file="k")) is None


def test_clients_are_asked_for_a_certificate_when_the_settings_say_so(tmp_path):
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


def test_a_bad_file_is_named(tmp_path):
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(Error, match=r"missing\.pem"):
        http_context(Tls(http=True, cert_file=missing, key_file=missing))
