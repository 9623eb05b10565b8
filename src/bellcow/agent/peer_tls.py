"""What protects the ports between servers: contexts and files of mutual TLS, and the shared key.

Made of the settings in one place, for the servers' own port, for the calls to others and for etcd,
so that the three ask for the same. It opens no connection.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bellcow.api.internal import Gate
from bellcow.cluster.wire_auth import Secret
from bellcow.config import keyring
from bellcow.config.tls import peer_contexts
from bellcow.config.tls import reload as reload_context
from bellcow.errors import invalid
from bellcow.etcd.flags import PeerTls

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.config import model


class PeerSecurity(msgspec.Struct, frozen=True, kw_only=True):
    """How servers trust each other. The contexts and `etcd` are None without `tls.rpc`."""

    secret: Secret
    gate: Gate
    verify_names: bool
    serve_with: ssl.SSLContext | None = None
    call_with: ssl.SSLContext | None = None
    etcd: PeerTls | None = None


def peer_security(settings: model.Settings, server_id: str, clock: Clock) -> PeerSecurity:
    """All of it. Error(INVALID) names the file or the setting that is wrong."""
    tls = settings.tls
    secret = _secret(settings, server_id, clock)
    names = tls.rpc and tls.verify_server_hostname
    gate = Gate(secret=secret, verify_names=names, region=settings.region)
    if not tls.rpc:
        return PeerSecurity(secret=secret, gate=gate, verify_names=False)
    serve_with, call_with = peer_contexts(tls)
    return PeerSecurity(
        secret=secret,
        gate=gate,
        verify_names=names,
        serve_with=serve_with,
        call_with=call_with,
        etcd=_etcd_side(tls, f"server.{settings.region}.nomad" if names else ""),
    )


def reload_peer_tls(security: PeerSecurity, tls: model.Tls) -> int:
    """Read the files anew for the connections to come; Error(INVALID) leaves all as it was.

    The result is how many authorities are gone from the file and are believed until a restart. The
    paths must be those of the start, because etcd, which reads its files with every connection,
    cannot be told others.
    """
    if security.serve_with is None or security.call_with is None:
        return 0
    if security.etcd is not None and _etcd_side(tls, security.etcd.name) != security.etcd:
        raise invalid("tls.cert_file, key_file and ca_file between servers need a restart")
    gone = reload_context(security.serve_with, tls.cert_file, tls.key_file, tls.ca_file)
    reload_context(security.call_with, tls.cert_file, tls.key_file, tls.ca_file)
    return gone


def keep_key(settings: model.Settings) -> bool:
    """Write the key of the settings to where it is kept, if nothing is kept yet.

    Nomad: it counts from then on, whatever the settings say.
    """
    path = keyring.path_of(settings)
    if path is None or path.exists() or not settings.server.encrypt:
        return False
    (key,) = keyring.read_keys(settings)
    partial = path.with_name(f"{path.name}.partial")  # swept away by the next start
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(keyring.to_text(key))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise invalid(
            f"failed to configure keyring: cannot write {path}: {error.strerror}"
        ) from None
    return True


def _secret(settings: model.Settings, server_id: str, clock: Clock) -> Secret:
    try:
        first, *others = keyring.read_keys(settings) or (b"",)
    except (OSError, ValueError) as error:
        raise invalid(f"failed to configure keyring: {error}") from None
    return Secret(first, server_id, clock, others)


def _etcd_side(tls: model.Tls, name: str) -> PeerTls:
    return PeerTls(
        cert_file=str(Path(tls.cert_file).absolute()),
        key_file=str(Path(tls.key_file).absolute()),
        ca_file=str(Path(tls.ca_file).absolute()),
        name=name,
    )
