"""The limits of the listeners, from the settings."""

from __future__ import annotations

import resource

import msgspec
import pytest

from bellcow.agent.listeners import MOST_FILES, http_limits, peer_limits, raise_file_limit
from bellcow.api.internal.gate import LIMITS
from bellcow.config.model import Limits
from bellcow.gocompat.duration import Duration


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


def test_server_port_has_default_limits_without_settings():
    made = peer_limits(Limits())
    assert msgspec.structs.replace(made, connections=LIMITS.connections) == LIMITS


def test_limit_of_connections_follows_from_that_of_open_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert (http_limits(Limits()).connections, peer_limits(Limits()).connections) == (768, 128)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert http_limits(Limits()).connections == 20_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, 19_000), (19_000, 19_000)),
        ((1_024, resource.RLIM_INFINITY), (MOST_FILES, resource.RLIM_INFINITY)),
        ((4_096, 4_096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_limit_of_open_files_is_raised_to_the_hard_limit(monkeypatch, before, after):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    raise_file_limit()
    assert asked == ([after] if after else [])


def test_system_that_gives_no_more_files_is_no_error(monkeypatch):
    def refuse(_: int, limits: object) -> None:
        raise ValueError(limits)

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1_024))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_file_limit()


def test_servers_have_as_many_connections_as_they_like_where_the_settings_say_so():
    assert peer_limits(Limits(rpc_max_conns_per_client=0)).connections_per_client == 0
