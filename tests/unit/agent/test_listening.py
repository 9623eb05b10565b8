"""From settings to what the HTTP listener is told."""

from __future__ import annotations

from bellcow.agent.listening import http_limits, peer_limits
from bellcow.api.internal import LIMITS
from bellcow.config.model import Limits
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
