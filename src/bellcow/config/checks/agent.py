"""Checks of the agent itself: addresses, role, names, paths, ports, log, HTTP, telemetry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bellcow.config.addresses import AddressError, resolve_addresses
from bellcow.config.checks.base import Given, make_problem, warning, wrong
from bellcow.config.derive import SYSLOG_FACILITIES
from bellcow.config.keys import get_value
from bellcow.config.problem import Phase, Problem, quoted
from bellcow.errors import Error
from bellcow.model.license import issuer_key

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")


def check_addresses(given: Given) -> Iterator[Problem]:
    try:
        resolve_addresses(given.settings, given.dev, given.machine)
    except AddressError as error:
        yield wrong(str(error), *error.keys, allowed=error.allowed)


def check_role(given: Given) -> Iterator[Problem]:
    settings = given.settings
    if not (settings.server.enabled or settings.client.enabled):
        message = "Must specify either server, client or dev mode for the agent."
        missing = wrong(message, "server.enabled", "client.enabled")
        place = (
            "try: bellcow agent -dev; or write server { enabled = true } and data_dir into a file"
        )
        yield msgspec.structs.replace(missing, places=(place,))


def check_names(given: Given) -> Iterator[Problem]:
    settings = given.settings
    for title, key, value in (
        ("Name", "name", settings.name),
        ("Region", "region", settings.region),
        ("Datacenter", "datacenter", settings.datacenter),
    ):
        if "\0" in value:
            yield wrong(f"{title} contains invalid characters", key)
        elif not value and key != "name":  # an empty name means the host's
            yield wrong(f"{key} must not be empty", key)


def check_paths(given: Given) -> Iterator[Problem]:
    for title, key in (
        ("data-dir", "data_dir"),
        ("plugin-dir", "plugin_dir"),
        ("alloc-dir", "client.alloc_dir"),
        ("state-dir", "client.state_dir"),
        ("server data-dir", "server.data_dir"),
    ):
        path = get_value(given.settings, key)
        if path and not Path(path).is_absolute():
            yield wrong(f"{title} must be given as an absolute path: got {path}", key)


def check_data_dir(given: Given) -> Iterator[Problem]:
    settings = given.settings
    if settings.server.enabled and not settings.data_dir and not given.dev:
        missing = wrong("Must specify data directory", "data_dir")
        place = "data_dir is not set: it must be an absolute path"
        yield msgspec.structs.replace(missing, places=(place,))


def check_ports(given: Given) -> Iterator[Problem]:
    ports = given.settings.ports
    numbers = {"http": ports.http, "rpc": ports.rpc, "serf": ports.serf}
    for name, port in numbers.items():
        if not 0 <= port <= 65535:
            yield wrong(
                f"ports.{name} is out of range: {port}", f"ports.{name}", allowed="0 to 65535"
            )
    pairs = (("http", "rpc"), ("http", "serf"), ("rpc", "serf"))
    for first, second in pairs:
        if (
            numbers[first]
            and numbers[first] == numbers[second]
            and _same_host(given, first, second)
        ):
            message = f"ports.{first} and ports.{second} are both {numbers[first]}"
            keys = (f"ports.{first}", f"ports.{second}")
            yield wrong(message, *keys, allowed="each needs a port of its own")


def _same_host(given: Given, first: str, second: str) -> bool:
    """Whether two services listen on one address; a wildcard takes its port on every address."""
    bind = given.settings.bind_addr
    hosts = {getattr(given.settings.addresses, name) or bind for name in (first, second)}
    return len(hosts) == 1 or not hosts.isdisjoint({"", "0.0.0.0", "::"})


def check_client(given: Given) -> Iterator[Problem]:
    settings = given.settings
    if not settings.client.enabled or given.dev:
        return
    if settings.server.enabled:
        message = "client.enabled: bellcow has no client part yet; this agent is a server only"
        yield warning(message, "client.enabled")
    else:
        message = "client.enabled is not supported: bellcow runs servers, and has no node agent yet"
        yield wrong(message, "client.enabled", allowed="run the client with Nomad's own agent")


def check_log_level(given: Given) -> Iterator[Problem]:
    level = given.settings.log_level
    if level.upper() not in LOG_LEVELS:
        valid = " ".join(LOG_LEVELS)
        message = f"Invalid log level: {level}. Valid log levels are: [{valid}]"
        yield wrong(message, "log_level")


def check_syslog(given: Given) -> Iterator[Problem]:
    facility = given.settings.syslog_facility
    if given.settings.enable_syslog and facility.upper() not in SYSLOG_FACILITIES:
        message = f"Syslog setup failed: invalid syslog facility: {facility}"
        yield wrong(message, "syslog_facility", allowed="such as DAEMON or LOCAL0 to LOCAL7")


def check_response_headers(given: Given) -> Iterator[Problem]:
    key = "http_api_response_headers"
    for name, value in given.settings.http_api_response_headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield wrong(f"{key} has a name that no header can have: {quoted(name)}", key)
        elif not _HEADER_VALUE.fullmatch(value):
            message = f"{key} has a value for {name} that no header can have: {quoted(value)}"
            yield wrong(message, key, allowed="printable characters of Latin-1")


def check_license(given: Given) -> Iterator[Problem]:
    for issuer in given.settings.license.issuers:
        try:
            issuer_key(issuer)
        except Error as error:
            yield wrong(f"license.issuers: {error.message}", "license.issuers")


def check_telemetry(given: Given) -> Iterator[Problem]:
    for rule in given.settings.telemetry.prefix_filter:
        if rule[:1] not in {"+", "-"}:
            what = f"Filter rule must begin with either '+' or '-': {quoted(rule)}"
            message = what if rule else "Cannot have empty filter rule in prefix_filter"
            yield make_problem(Phase.TELEMETRY, message, "telemetry.prefix_filter")


def check_http_limits(given: Given) -> Iterator[Problem]:
    limits = given.settings.limits
    if limits.https_handshake_timeout.ns < 0:
        message = "https_handshake_timeout must be >= 0"
        yield make_problem(Phase.HTTP, message, "limits.https_handshake_timeout")
    if limits.http_max_conns_per_client < 0:
        message = "http_max_conns_per_client must be >= 0"
        yield make_problem(Phase.HTTP, message, "limits.http_max_conns_per_client")
