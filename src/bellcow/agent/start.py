"""The steps of an agent's start. Each raises StartError when the agent cannot start."""

from __future__ import annotations

import base64
import errno
import os
from typing import TYPE_CHECKING

from bellcow.agent import banner
from bellcow.agent.data_dir import DataDirectory
from bellcow.agent.data_dir_owner import DataDirectoryError
from bellcow.agent.log_outputs import SYSLOG_SOCKET, LogFile, Syslog, log_path
from bellcow.agent.metrics import Metrics
from bellcow.agent.peer_tls import keep_key, peer_security
from bellcow.agent.storage import StorageError, open_storage
from bellcow.api.http.server import bind
from bellcow.api.pipeline.guards import Guards
from bellcow.clock import new_uuid
from bellcow.config.addresses import this_machine
from bellcow.config.derive import server_directory
from bellcow.config.peer_ports import hosts_of, is_loopback, refusal
from bellcow.config.tls import http_context
from bellcow.errors import Error
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    import contextlib
    import socket
    import ssl
    from pathlib import Path

    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.agent.storage import Storage
    from bellcow.clock import Clock
    from bellcow.config.addresses import Addresses
    from bellcow.config.model import Settings
    from bellcow.events import Report
    from bellcow.model.hello import Itself
    from bellcow.server import Server

_BIND_ADVICE = {
    errno.EADDRINUSE: banner.port_taken,
    errno.EADDRNOTAVAIL: banner.not_an_address,
}


class StartError(Exception):
    """The agent does not start. The message is printed as it is."""


def open_log_file(settings: Settings, clock: Clock) -> LogFile | None:
    """The file of the setting `log_file`.

    Raises:
        StartError: it cannot be opened.
    """
    if not settings.log_file:
        return None
    try:
        return LogFile(
            log_path(settings.log_file),
            clock,
            age_s=settings.log_rotate_duration.s,
            size=settings.log_rotate_bytes,
            kept=settings.log_rotate_max_files,
        )
    except OSError as error:
        reason = f"Error opening log file {settings.log_file}: {error.strerror}"
        raise StartError(reason) from None


def open_syslog(settings: Settings) -> Syslog | None:
    """The machine's syslog, if the settings ask for it.

    Raises:
        StartError: none listens.
    """
    if not settings.enable_syslog:
        return None
    try:
        return Syslog(settings.syslog_facility)
    except OSError as error:
        reason = f"Syslog setup failed: {SYSLOG_SOCKET}: {error.strerror}"
        advice = "start a syslog service, or set enable_syslog = false"
        raise StartError(f"{reason}; {advice}") from None


def bind_port(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack, name: str, address: tuple[str, int]
) -> socket.socket:
    """A listening socket of the port that the settings call `name`; `stack` closes it.

    Raises:
        StartError: the address cannot be listened on.
    """
    try:
        listener = bind(*address)
    except OSError as error:
        where = join_host_port(address)
        # A host name that is not found has a negative number, which is not one of the system's.
        number = error.errno or 0
        named = os.strerror(number) if number > 0 else error.strerror or str(error)
        reason = named.lower()
        what = "http server: failed to start HTTP" if name == "http" else "server: failed to start"
        advice = _BIND_ADVICE.get(error.errno or 0)
        more = f"\n{advice(name, address)}" if advice else ""
        raise StartError(
            f"Error starting {what} listener: listen tcp {where}: bind: {reason}{more}"
        ) from None
    stack.callback(listener.close)
    return listener


def open_data(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    settings: Settings,
    clock: Clock,
    report: Report,
) -> tuple[Path | None, str]:
    """The locked data directory and the server's id; None and a new id without a directory.

    Raises:
        StartError: the directory is in use, or cannot be used safely.
    """
    path = server_directory(settings)
    if path is None:
        return None, new_uuid(clock)
    try:
        data = DataDirectory(path, clock)
    except DataDirectoryError as error:
        raise StartError(f"Error starting agent: {error}") from None
    stack.callback(data.close)
    if data.above.closed:
        report("permissions_tightened", path=path.parent)
    if data.above.exposed:
        report("data_dir_exposed", path=path.parent, reason=data.above.exposed)
    if data.made_id:
        report("node_id_created", id=data.node_id)
    return data.path, data.node_id


def make_security(settings: Settings, addresses: Addresses, folder: Path | None) -> PeerSecurity:
    """The protection between servers. Also writes the keyring file at the first start.

    Raises:
        StartError: a file or a setting is wrong.
    """
    hosts = hosts_of(addresses, this_machine(), os.uname().nodename)
    try:
        security = peer_security(settings, hosts, folder)
        keep_key(settings)
    except Error as error:
        raise StartError(f"Error starting agent: {error.message}") from None
    return security


async def make_storage(
    settings: Settings,
    addresses: Addresses,
    itself: Itself,
    security: PeerSecurity,
    folder: Path | None,
    clock: Clock,
    report: Report,
) -> Storage:
    """The embedded store, opened, or an etcd process that is not started yet.

    Raises:
        StartError: the storage cannot be opened.
    """
    try:
        return await open_storage(settings, addresses, itself, security, folder, clock, report)
    except StorageError as error:
        raise StartError(f"Error starting agent: {error}") from None


def refuse_if_cut_off(server: Server, clock: Clock) -> None:
    """Refuse loopback addresses between servers when the cluster has servers elsewhere.

    Raises:
        StartError: these are loopback addresses, and a server of the cluster is elsewhere.
    """
    own = server.roster.itself.serf
    if not server.facts.closed_peers:
        return
    known = server.lifecycle.known_addresses
    abroad = [at for at in known if at != own and not is_loopback(at[0])]
    if abroad:
        why = f"belongs to a cluster with {join_host_port(abroad[0])}"
        fresh = base64.b64encode(clock.random_bytes(32)).decode()
        raise StartError("Error starting agent: " + "\n    ".join(refusal(why, fresh)))


def make_tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the HTTP API; None without TLS.

    Raises:
        StartError: a file or a setting is wrong.
    """
    try:
        return http_context(settings.tls)
    except Error as error:
        raise StartError(f"Error starting http server: {error.message}") from None


def make_metrics(settings: Settings, clock: Clock) -> Metrics:
    """Metrics without sources, as the block `telemetry` says."""
    telemetry = settings.telemetry
    host = "" if telemetry.disable_hostname else os.uname().nodename
    return Metrics(
        clock,
        host=settings.name if telemetry.use_node_name else host,
        prometheus=telemetry.prometheus_metrics,
        filters=telemetry.prefix_filter,
        filter_default=telemetry.filter_default,
    )


def make_guards(server: Server, addresses: Addresses) -> Guards:
    """The checks of `Host` and `Origin` for the names of this server."""
    itself = server.roster.itself
    names = {itself.name, itself.member_name, addresses.http_adv[0]}
    host = addresses.http_bind[0]
    return Guards(
        loopback_only=host.startswith("127.") or host in {"::1", "localhost"},
        names=names | set(server.settings.http_allowed_hosts),
    )
