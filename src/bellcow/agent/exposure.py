"""Warnings at the start about ports that accept unauthenticated callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.config.peer_ports import are_open, is_loopback
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.config.addresses import Addresses
    from bellcow.config.model import Settings
    from bellcow.events import Report


def report_exposure(
    settings: Settings, addresses: Addresses, security: PeerSecurity, report: Report
) -> None:
    """Warn of ports that accept unauthenticated servers or clients."""
    if advice := _peers_advice(settings, addresses, security):
        report(
            "peers_unprotected",
            rpc=join_host_port(addresses.rpc_bind),
            serf=join_host_port(addresses.serf_bind),
            advice=advice,
        )
    if not settings.acl.enabled and not is_loopback(addresses.http_bind[0]):
        report(
            "api_open",
            address=join_host_port(addresses.http_bind),
            advice="acl { enabled = true }, or -bind=127.0.0.1",
        )


def _peers_advice(settings: Settings, addresses: Addresses, security: PeerSecurity) -> str:
    """What closes the ports between servers; "" when they are closed."""
    if are_open(settings, addresses):
        return "set encrypt on all servers, or tls { rpc = true }"
    local = is_loopback(addresses.rpc_bind[0]) and is_loopback(addresses.serf_bind[0])
    if security.gate.proves or local:
        return ""
    return "set tls { verify_server_hostname = true }: any certificate of ca_file is accepted now"
