"""Every check of the settings, in the order in which Nomad makes them, with its texts.

A check that Nomad does not make names the setting. The checks change nothing; outside the settings
they read only the files named there, the machine's addresses and, for certificates, the date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.config.checks.agent import (
    check_addresses,
    check_client,
    check_data_dir,
    check_http_limits,
    check_license,
    check_log_level,
    check_names,
    check_paths,
    check_ports,
    check_response_headers,
    check_role,
    check_syslog,
    check_telemetry,
)
from bellcow.config.checks.base import Given, warning
from bellcow.config.checks.peers import (
    check_bootstrap,
    check_discovery,
    check_encrypt,
    check_join,
    check_join_addresses,
    check_keyring,
    check_peer_ports,
    check_raft_protocol,
)
from bellcow.config.checks.server import check_own_rules, check_scheduler, check_server_setup
from bellcow.config.checks.tls import check_certificates, check_tls_files, check_tls_words
from bellcow.config.keys import Key, all_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bellcow.config.addresses import Machine
    from bellcow.config.model import Settings
    from bellcow.config.problem import Problem


def validate(
    settings: Settings,
    *,
    origins: Mapping[str, str] | None = None,
    unknown: tuple[str, ...] = (),
    dev: bool = False,
    machine: Machine | None = None,
) -> list[Problem]:
    """All problems and warnings, in the order of the start; empty when all is well.

    `origins` says which settings were written, and where; `unknown` are undeclared keys of blocks
    without effect; `machine` is None for the machine that this runs on.
    """
    given = Given(settings, origins or {}, unknown, dev, machine)
    found = [problem for check in _CHECKS for problem in check(given)]
    refused = {key for problem in found if not problem.warning for key in problem.keys}
    found += _without_effect(given, refused)
    return sorted(found, key=lambda problem: problem.phase)


def _without_effect(given: Given, refused: set[str]) -> Iterator[Problem]:
    """One warning that lists all written settings without effect."""
    keys = {key.path: key for key in all_keys()}
    written = [
        path
        for path, origin in given.origins.items()
        if not origin.startswith("-") and path not in refused and _has_no_effect(keys, path)
    ]
    named = sorted({*written, *given.unknown})
    if named:
        yield warning("these settings have no effect: " + ", ".join(named), *written)


def _has_no_effect(keys: Mapping[str, Key], path: str) -> bool:
    if path == "client.enabled":
        return False
    return path.startswith("client.") or keys[path].priority in {"L", "C"}


_CHECKS: tuple[Callable[[Given], Iterator[Problem]], ...] = (
    check_addresses,
    check_role,
    check_names,
    check_encrypt,
    check_keyring,
    check_peer_ports,
    check_tls_words,
    check_tls_files,
    check_certificates,
    check_paths,
    check_scheduler,
    check_data_dir,
    check_own_rules,
    check_ports,
    check_bootstrap,
    check_client,
    check_discovery,
    check_join_addresses,
    check_raft_protocol,
    check_log_level,
    check_syslog,
    check_response_headers,
    check_license,
    check_telemetry,
    check_server_setup,
    check_http_limits,
    check_join,
)
