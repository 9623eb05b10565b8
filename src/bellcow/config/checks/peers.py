"""Checks of what a server needs to find and trust its peers: keys, joins, bootstrap, protocol."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from bellcow.clock import SystemClock
from bellcow.config import keyring
from bellcow.config.addresses import AddressError, resolve_addresses
from bellcow.config.checks.base import Given, make_problem, warning, wrong
from bellcow.config.derive import encrypt_key, server_join
from bellcow.config.joins import join_fault
from bellcow.config.keys import get_value
from bellcow.config.peer_ports import needs_other_machines, refusal
from bellcow.config.problem import Phase, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.config.model import Settings

_JOINS = (
    "server.server_join.retry_join",
    "server.server_join.start_join",
    "server.retry_join",
    "server.start_join",
)


def check_encrypt(given: Given) -> Iterator[Problem]:
    if not given.settings.server.encrypt:
        return
    allowed = "must be base64 of 16, 24 or 32 bytes, as `operator keygen` prints it"
    try:
        key = encrypt_key(given.settings)
    except ValueError as error:
        yield wrong(f"Invalid encryption key: {error}", "server.encrypt", allowed=allowed)
        return
    if len(key) not in keyring.SIZES:
        message = "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes"
        yield make_problem(Phase.AGENT, message, "server.encrypt", allowed=allowed)


def _is_key(settings: Settings, key: bytes) -> bool:
    try:
        return encrypt_key(settings) == key
    except ValueError:
        return True  # check_encrypt refuses the key


def check_keyring(given: Given) -> Iterator[Problem]:
    path = keyring.path_of(given.settings)
    try:
        if path is None or not path.exists():
            return
        first, *_ = keyring.read_keys(given.settings)
        # Nomad: it warns even if both are the same, as they are at every start but the first.
        if given.settings.server.encrypt and not _is_key(given.settings, first):
            yield warning("keyring exists but -encrypt given, using keyring", "server.encrypt")
    except PermissionError:
        return  # `config validate` may run as another user than the agent
    except (OSError, ValueError) as error:
        yield make_problem(Phase.AGENT, f"failed to configure keyring: {error}")


def check_peer_ports(given: Given) -> Iterator[Problem]:
    """A server that expects or joins others needs a key or TLS, and ports that they can reach."""
    settings = given.settings
    if not settings.server.enabled:
        return
    try:
        addresses = resolve_addresses(settings, given.dev, given.machine)
    except AddressError:
        return  # check_addresses reports it
    key, why = needs_other_machines(settings, addresses)
    if key:
        fresh = base64.b64encode(SystemClock().random_bytes(32)).decode()
        message, *places = refusal(why, fresh)
        keys = (key, "server.encrypt")
        yield Problem(phase=Phase.AGENT, message=message, keys=keys, places=tuple(places))


def check_bootstrap(given: Given) -> Iterator[Problem]:
    server = given.settings.server
    key = "server.bootstrap_expect"
    from_flag = given.origins.get(key, "").startswith("-")
    if from_flag and server.bootstrap_expect > 0 and not server.enabled:
        yield wrong("Bootstrap requires server mode to be enabled", key)
    if not server.enabled or given.dev:
        return
    if server.bootstrap_expect == 1:
        yield warning("Bootstrap mode enabled! Potentially unsafe operation.", key)
    elif server.bootstrap_expect > 0 and server.bootstrap_expect % 2 == 0:
        yield warning("Number of bootstrap servers should ideally be set to an odd number.", key)


def check_discovery(given: Given) -> Iterator[Problem]:
    """Nomad: servers find each other through Consul. Here each would form its own cluster."""
    server, join = given.settings.server, server_join(given.settings)
    if not server.enabled or given.dev or join.start_join or join.retry_join:
        return
    if "consul" in given.origins and server.bootstrap_expect != 1:
        fate = (
            f"this one waits for {server.bootstrap_expect} servers that it cannot find"
            if server.bootstrap_expect
            else "this one forms a cluster of its own"
        )
        message = (
            f"bellcow looks up no servers in Consul: {fate}; name the others in "
            "server { server_join { retry_join = [...] } }, with bootstrap_expect"
        )
        yield warning(message, "consul")


def check_raft_protocol(given: Given) -> Iterator[Problem]:
    protocol = given.settings.server.raft_protocol
    key = "server.raft_protocol"
    if not 1 <= protocol <= 3:
        message = f"Protocol version {protocol} must be >= 1 and <= 3"
        yield make_problem(
            Phase.AGENT, f"server setup failed: Failed to start Raft: {message}", key
        )
    elif protocol < 3:
        yield warning(f"raft_protocol {protocol} is read as 3, the only supported one", key)


def check_join(given: Given) -> Iterator[Problem]:
    server, join = given.settings.server, given.settings.server.server_join
    if join.start_join or join.retry_join:
        for name in ("retry_join", "start_join", "retry_max", "retry_interval"):
            key = f"server.{name}"
            if key in given.origins:
                message = (
                    f"server_join and {name} cannot both be defined; "
                    "prefer setting the server_join stanza"
                )
                yield make_problem(Phase.JOIN, message, key)
    if (join.start_join and join.retry_join) or (server.start_join and server.retry_join):
        block = "server.server_join" if join.start_join else "server"
        message = "retry_join and start_join cannot both be defined"
        yield make_problem(Phase.JOIN, message, f"{block}.retry_join", f"{block}.start_join")
    if given.settings.client.server_join.start_join:
        message = "start_join is not supported for Nomad clients"
        yield make_problem(Phase.JOIN, message, "client.server_join.start_join")


def check_join_addresses(given: Given) -> Iterator[Problem]:
    for key in _JOINS:
        faults = [join_fault(text) for text in get_value(given.settings, key)]
        fault = next(filter(None, faults), "")
        if fault:
            problem = wrong(f"{key} cannot be joined: {fault}", key)
            # The value is not repeated: cloud auto-join may carry secrets.
            origin = given.origins.get(key, key)
            place = f"{origin}: element {faults.index(fault) + 1} of {key}"
            yield msgspec.structs.replace(problem, places=(place,))
