"""The protection of the ports between servers: mutual TLS, and whose certificates it accepts.

One place makes it from the settings, for the server port, for calls to other servers and for etcd,
so that all three require the same. It opens no connection.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bellcow import files
from bellcow.api.internal.gate import Gate
from bellcow.cluster.transport.server_names import ServerNames
from bellcow.config import keyring
from bellcow.config.peer_certificates import issue
from bellcow.config.peer_ports import Protection, protection
from bellcow.config.tls import make_client_context, make_context, peer_contexts
from bellcow.config.tls import reload as reload_context
from bellcow.errors import invalid
from bellcow.etcd.flags import PeerTls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.config import model
    from bellcow.config.peer_certificates import Issued

FOLDER = "peer-tls"  # in the server's directory: certificate, key and authorities of this start
CERT, KEY, AUTHORITIES = "cert.pem", "key.pem", "ca.pem"


class PeerSecurity(msgspec.Struct, frozen=True, kw_only=True):
    """How servers authenticate each other. Without protection the contexts and `etcd` are None.

    `etcd` is also None for a server without a data directory.
    """

    gate: Gate
    protection: Protection
    serve_with: ssl.SSLContext | None = None
    call_with: ssl.SSLContext | None = None
    etcd: PeerTls | None = None


def peer_security(
    settings: model.Settings, hosts: Iterable[str], folder: Path | None
) -> PeerSecurity:
    """The protection that the settings ask for.

    `hosts` are the addresses and names of this server, `folder` is its directory.

    Raises:
        invalid: a file or a setting is wrong; the text names it.
    """
    kind = protection(settings)
    if kind == "certificates":
        return _with_certificates(settings)
    if kind == "key":
        return _with_key(settings, hosts, folder)
    return PeerSecurity(gate=Gate(region=settings.region), protection=kind)


def _with_certificates(settings: model.Settings) -> PeerSecurity:
    """Protection with the operator's certificates."""
    tls = settings.tls
    names = ServerNames("nomad") if tls.verify_server_hostname else None
    serve_with, call_with = peer_contexts(tls)
    return PeerSecurity(
        gate=Gate(region=settings.region, names=names),
        protection="certificates",
        serve_with=serve_with,
        call_with=call_with,
        etcd=_etcd_side(tls, names.of(settings.region) if names else ""),
    )


def _with_key(settings: model.Settings, hosts: Iterable[str], folder: Path | None) -> PeerSecurity:
    """Protection with a certificate issued now, by an authority derived from the shared key.

    Raises:
        invalid: the keys cannot be read.
    """
    try:
        keys = keyring.read_keys(settings)
    except (OSError, ValueError) as error:
        raise invalid(f"failed to configure keyring: {error}") from None
    issued = issue(keys, settings.region, hosts)
    if folder is not None:
        return _with_issued(settings, issued, folder / FOLDER)
    with tempfile.TemporaryDirectory() as passing:  # a context can be made from files only
        made = _with_issued(settings, issued, Path(passing))
    return msgspec.structs.replace(made, etcd=None)


def _with_issued(settings: model.Settings, issued: Issued, folder: Path) -> PeerSecurity:
    cert, key, ca = (str(folder.absolute() / name) for name in (CERT, KEY, AUTHORITIES))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        files.write(Path(ca), issued.authorities)
        files.write(Path(key), issued.key)
        files.write(Path(cert), issued.cert)
    except OSError as error:
        raise invalid(f"cannot write {error.filename or folder}: {error.strerror}") from None
    names = ServerNames("bellcow")
    return PeerSecurity(
        gate=Gate(region=settings.region, names=names),
        protection="key",
        serve_with=make_context(cert, key, ca, verify_client=True, min_version="tls13"),
        call_with=make_client_context(cert, key, ca, min_version="tls13"),
        etcd=PeerTls(
            cert_file=cert,
            key_file=key,
            ca_file=ca,
            name=names.of(settings.region),
            any_source=True,  # any holder of the key can issue a certificate for any address
        ),
    )


def reload_peer_tls(security: PeerSecurity, tls: model.Tls) -> int:
    """Read the operator's files again, for new connections. Returns a number of authorities.

    Those have left the file and stay trusted until a restart. The paths must be those of the start,
    because etcd reads its files at each connection and cannot get other paths. Certificates derived
    from a key do not change.

    Raises:
        invalid: a file is wrong, or a path has changed; then nothing has changed.
    """
    if (
        security.protection != "certificates"
        or security.serve_with is None
        or security.call_with is None
    ):
        return 0
    if security.etcd is not None and _etcd_side(tls, security.etcd.name) != security.etcd:
        raise invalid("tls.cert_file, key_file and ca_file between servers need a restart")
    gone = reload_context(security.serve_with, tls.cert_file, tls.key_file, tls.ca_file)
    reload_context(security.call_with, tls.cert_file, tls.key_file, tls.ca_file)
    return gone


def keep_key(settings: model.Settings) -> bool:
    """Write the key of the settings to the keyring file, if there is none. True if written.

    Nomad: from then on the file counts, whatever the settings say.

    Raises:
        invalid: the file cannot be written.
    """
    path = keyring.path_of(settings)
    if path is None or path.exists() or not settings.server.encrypt:
        return False
    (key,) = keyring.read_keys(settings)
    try:
        files.write(path, keyring.to_text(key))
    except OSError as error:
        raise invalid(
            f"failed to configure keyring: cannot write {path}: {error.strerror}"
        ) from None
    return True


def _etcd_side(tls: model.Tls, name: str) -> PeerTls:
    return PeerTls(
        cert_file=str(Path(tls.cert_file).absolute()),
        key_file=str(Path(tls.key_file).absolute()),
        ca_file=str(Path(tls.ca_file).absolute()),
        name=name,
    )
