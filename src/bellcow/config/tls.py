"""TLS contexts from PEM files, for both sides of a connection, and their reload.

Every refusal is an `Error` that names the file or the setting.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bellcow.errors import Error, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.config.model import Tls

# Nomad: the older names are accepted. Here they mean 1.2, the lowest version offered.
_VERSIONS: Final = {
    "": ssl.TLSVersion.TLSv1_2,
    "tls10": ssl.TLSVersion.TLSv1_2,
    "tls11": ssl.TLSVersion.TLSv1_2,
    "tls12": ssl.TLSVersion.TLSv1_2,
    "tls13": ssl.TLSVersion.TLSv1_3,
}

# Nomad: the settings use Go's names. The suites of TLS 1.3 cannot be chosen.
_EXCHANGES: Final = {
    "TLS_ECDHE_RSA_WITH_": "ECDHE-RSA-",
    "TLS_ECDHE_ECDSA_WITH_": "ECDHE-ECDSA-",
    "TLS_RSA_WITH_": "",
}
_BULK: Final = {
    "CHACHA20_POLY1305": "CHACHA20-POLY1305",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
}


def make_context(
    cert: str,
    key: str,
    ca: str = "",
    *,
    verify_client: bool = False,
    min_version: str = "tls12",
    ciphers: str = "",
) -> ssl.SSLContext:
    """A server's context. `ciphers` are Go's names with commas; "" is the default choice.

    Raises:
        invalid: a file or a setting is wrong; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _version(min_version)
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session would survive the removal of its certificate or authority by a reload.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    trust_as_go_does(context)
    if ciphers.strip():
        context.set_ciphers(":".join(_cipher(name.strip()) for name in ciphers.split(",")))
    _load_pair(context, cert, key)
    if ca:
        _load_authorities(context, ca)
    if verify_client:
        if not ca:
            raise invalid(
                "verifying clients needs ca_file, the authorities that sign their certificates"
            )
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def make_client_context(
    cert: str, key: str, ca: str, *, min_version: str = "tls12"
) -> ssl.SSLContext:
    """A client's context, with a certificate, that verifies the server's certificate and its name.

    Raises:
        invalid: a file or a setting is wrong; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _version(min_version)
    trust_as_go_does(context)
    _load_pair(context, cert, key)
    _load_authorities(context, ca)
    return context


def http_context(tls: Tls) -> ssl.SSLContext | None:
    """The context of the HTTP API; None without TLS.

    Raises:
        invalid: a file or a setting is wrong; the text names it.
    """
    if not tls.http:
        return None
    return make_context(
        tls.cert_file,
        tls.key_file,
        tls.ca_file,
        verify_client=tls.verify_https_client,
        min_version=tls.tls_min_version,
        ciphers=tls.tls_cipher_suites,
    )


def peer_contexts(tls: Tls) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts to accept and to make connections between servers, with the operator's certificates.

    Raises:
        invalid: a file or a setting is wrong; the text names it.
    """
    answering = make_context(
        tls.cert_file,
        tls.key_file,
        tls.ca_file,
        verify_client=True,
        min_version=tls.tls_min_version,
        ciphers=tls.tls_cipher_suites,
    )
    calling = make_client_context(
        tls.cert_file, tls.key_file, tls.ca_file, min_version=tls.tls_min_version
    )
    return answering, calling


def try_handshake(answering: ssl.SSLContext, calling: ssl.SSLContext) -> str:
    """Why a handshake of the two fails; "" if it succeeds. Names are not compared.

    The contexts are modified: pass new ones.
    """
    calling.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = calling.wrap_bio(to_client, to_server)
    there = answering.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (here, there, here, there):  # rounds of messages; TLS 1.2 needs no more
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        there.write(b"x")
        here.read(1)
    except ssl.SSLError as fault:
        return getattr(fault, "verify_message", "") or (fault.reason or str(fault)).lower()
    return ""


def trust_as_go_does(context: ssl.SSLContext) -> None:
    """Accept every certificate of the authorities' file as the end of a chain, root or not.

    Nomad: Go accepts an issuing authority without its root, and a certificate that is its own
    authority. Python's default flags vary with the release, and some refuse these.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT


def reload(context: ssl.SSLContext, cert: str, key: str, ca: str = "") -> int:
    """Read the files again, for new handshakes; open connections continue.

    Returns how many authorities were removed from the file: they stay trusted until a restart,
    because a context in use cannot drop one.

    Raises:
        invalid: a file is wrong; nothing has changed.
    """
    fresh = make_context(cert, key, ca)
    gone = set(context.get_ca_certs(binary_form=True)) - set(fresh.get_ca_certs(binary_form=True))
    _load_pair(context, cert, key)
    if ca:
        _load_authorities(context, ca)
    return len(gone)


def _version(name: str) -> ssl.TLSVersion:
    if name not in _VERSIONS:
        raise invalid(f'unsupported TLS version "{name}"')
    return _VERSIONS[name]


def _cipher(name: str) -> str:
    for prefix, exchange in _EXCHANGES.items():
        bulk = _BULK.get(name.removeprefix(prefix))
        if name.startswith(prefix) and bulk is not None:
            return exchange + bulk
    raise invalid(f'unsupported TLS cipher "{name}"')


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    _check_readable((cert, key))
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as fault:
        raise _bad_pair(fault, cert, key) from fault


def _bad_pair(fault: ssl.SSLError, cert: str, key: str) -> Error:
    if fault.reason == "KEY_VALUES_MISMATCH":
        return invalid(f"{key} is not the key of the certificate in {cert}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
    except ssl.SSLError:
        return invalid(f"{cert} holds no certificate in PEM form")
    return invalid(f"{key} holds no private key in PEM form, or one locked with a password")


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    _check_readable((ca,))
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as fault:
        raise invalid(f"{ca} holds no certificate in PEM form") from fault


def _check_readable(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            with Path(path).open("rb"):
                pass
        except OSError as fault:
            raise invalid(f"cannot read {path}: {fault.strerror}") from fault


def _no_password() -> str:
    """The password for a locked key: none. By default OpenSSL would prompt, and block the start."""
    return ""
