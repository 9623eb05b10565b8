"""Checks of TLS: the words, the files, and whether peers and clients accept the certificate.

Reads the files that the settings name, and today's date.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.clock import SystemClock
from bellcow.config.addresses import AddressError, resolve_addresses
from bellcow.config.certificates import Pem, Wanted, find_date_flaws, find_flaws
from bellcow.config.checks.base import Given, make_problem, one_of, warning
from bellcow.config.derive import server_join
from bellcow.config.problem import Phase, Problem, quoted
from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.config import model
    from bellcow.config.model import Settings

TLS_VERSIONS = ("tls10", "tls11", "tls12", "tls13")
TLS_CIPHERS = frozenset(
    {
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        *(
            f"TLS_ECDHE_{kind}_WITH_{suite}"
            for kind in ("RSA", "ECDSA")
            for suite in (
                "CHACHA20_POLY1305",
                "AES_128_GCM_SHA256",
                "AES_256_GCM_SHA384",
                "AES_128_CBC_SHA256",
                "AES_128_CBC_SHA",
                "AES_256_CBC_SHA",
            )
        ),
    }
)


def check_tls_files(given: Given) -> Iterator[Problem]:
    tls = given.settings.tls
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    if not (tls.http or tls.rpc or tls.verify_server_hostname or any(files)):
        return
    for name in files:
        reason = _unreadable(name)
        if reason:
            yield warning(f"Error when parsing TLS configuration: open {name}: {reason}")
            break
    yield from _missing_files(tls)
    if tls.key_file and not given.dev:
        yield from _open_key(tls.key_file)


def _unreadable(name: str) -> str:
    """The system's reason why a file cannot be read; "" if it can."""
    if not name:
        return "no such file or directory"
    try:
        Path(name).open("rb").close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _missing_files(tls: model.Tls) -> Iterator[Problem]:
    for switch, needed in (
        ("http", ("cert_file", "key_file") + (("ca_file",) if tls.verify_https_client else ())),
        ("rpc", ("cert_file", "key_file", "ca_file")),
    ):
        if not getattr(tls, switch):
            continue
        for name in needed:
            path = getattr(tls, name)
            reason = _unreadable(path)
            if reason:
                what = f"which cannot be read: {reason}" if path else "which is not set"
                message = f"tls.{switch} needs tls.{name}, {what}"
                yield make_problem(Phase.AGENT, message, f"tls.{switch}", f"tls.{name}")


def check_certificates(given: Given) -> Iterator[Problem]:
    """Problems of the certificate for this agent, for its peers and for clients."""
    tls = given.settings.tls
    between = tls.rpc and given.settings.server.enabled
    needed = [tls.cert_file, tls.key_file]
    needed += [tls.ca_file] if between or tls.ca_file or tls.verify_https_client else []
    if not (tls.http or between) or any(map(_unreadable, needed)):
        return
    found = list(_peer_flaws(given) if between else _date_warnings(given))
    yield from found
    if all(problem.warning for problem in found):
        yield from _refused_files(tls, between=between)


def _peer_flaws(given: Given) -> Iterator[Problem]:
    """What the other servers would refuse about this server's certificate."""
    settings, tls = given.settings, given.settings.tls
    cert, key, ca = (
        Pem(name, Path(name).read_bytes()) for name in (tls.cert_file, tls.key_file, tls.ca_file)
    )
    for flaw in find_flaws(cert, key, ca, _wanted(given), _now()):
        # A single server can run with a certificate that only its peers would refuse.
        if flaw.grade == "broken" or (flaw.grade == "unfit" and _has_company(settings)):
            yield make_problem(Phase.AGENT, flaw.text)
        else:
            yield warning(flaw.text)


def _date_warnings(given: Given) -> Iterator[Problem]:
    """Nomad: the HTTP API starts with a certificate that has expired. Clients refuse it."""
    name = given.settings.tls.cert_file
    for flaw in find_date_flaws(Pem(name, Path(name).read_bytes()), _wanted(given), _now()):
        yield warning(flaw.text)


def _refused_files(tls: model.Tls, *, between: bool) -> Iterator[Problem]:
    """Load the files as the agent does, and try a handshake of two servers with them."""
    if tls.tls_min_version not in TLS_VERSIONS or _unknown_ciphers(tls):
        return  # check_tls_words reports it
    from bellcow.config.tls import http_context, peer_contexts, try_handshake

    try:
        http_context(tls)
    except Error as error:
        yield make_problem(Phase.HTTP, error.message)
        return
    try:
        if between and (reason := try_handshake(*peer_contexts(tls))):
            message = f"servers with {tls.cert_file} and {tls.ca_file} refuse each other: {reason}"
            yield make_problem(Phase.AGENT, message)
    except Error as error:
        yield make_problem(Phase.AGENT, error.message)


def _wanted(given: Given) -> Wanted:
    settings = given.settings
    return Wanted(
        hosts=_told_hosts(given),
        name=f"server.{settings.region}.nomad" if settings.tls.verify_server_hostname else "",
        region=settings.region,
    )


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, UTC)


def _told_hosts(given: Given) -> tuple[str, ...]:
    """The advertised hosts at which other servers connect to this one."""
    try:
        addresses = resolve_addresses(given.settings, given.dev, given.machine)
    except AddressError:
        return ()  # said by the check of the addresses
    return tuple(dict.fromkeys((addresses.rpc_adv[0], addresses.serf_adv[0])))


def _has_company(settings: Settings) -> bool:
    join, server = server_join(settings), settings.server
    several = server.bootstrap_expect > 1 or join.retry_join or join.start_join
    return bool(several) or server.engine == "etcd"


def _open_key(name: str) -> Iterator[Problem]:
    try:
        mode = stat.S_IMODE(Path(name).stat().st_mode)
    except OSError:
        return  # check_tls_files reports it
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        message = f"tls.key_file is open to everybody: {name} has mode {mode:04o}"
        yield make_problem(Phase.AGENT, message, "tls.key_file", allowed=f"chmod 0600 {name}")


def check_tls_words(given: Given) -> Iterator[Problem]:
    tls = given.settings.tls
    start = "server setup failed: unsupported TLS "
    if tls.tls_min_version not in TLS_VERSIONS:
        what = f"{start}version {quoted(tls.tls_min_version)}"
        yield make_problem(Phase.AGENT, what, "tls.tls_min_version", allowed=one_of(TLS_VERSIONS))
    for cipher in _unknown_ciphers(tls):
        yield make_problem(Phase.AGENT, f"{start}cipher {quoted(cipher)}", "tls.tls_cipher_suites")


def _unknown_ciphers(tls: model.Tls) -> list[str]:
    written = filter(None, map(str.strip, tls.tls_cipher_suites.split(",")))
    return [cipher for cipher in written if cipher not in TLS_CIPHERS]
