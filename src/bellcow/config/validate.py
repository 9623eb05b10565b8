"""Every check of the settings, in the order in which Nomad makes them, with its texts.

Checks that only bellcow makes stand in between and name the setting. Nothing is changed here; the
only things looked at outside the settings are the files they name, the machine's addresses and,
for certificates, the date.
"""

from __future__ import annotations

import base64
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bellcow.clock import SystemClock
from bellcow.config import keyring, model
from bellcow.config.addresses import AddressError, Machine, resolve_addresses
from bellcow.config.certificates import Pem, Wanted, find_date_flaws, find_flaws
from bellcow.config.derive import SYSLOG_FACILITIES, encrypt_key, server_join
from bellcow.config.joins import join_fault
from bellcow.config.keys import Key, all_keys, get_value
from bellcow.config.peer_ports import refusal, waits_in_vain
from bellcow.config.problem import Phase, Problem, quoted
from bellcow.errors import Error
from bellcow.model.license import issuer_key
from bellcow.model.scheduler import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bellcow.config.model import Settings
    from bellcow.wire import Duration

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
ENGINES = ("auto", "embedded", "etcd")
SCHEDULERS = ("service", "batch", "system", "sysbatch", "_core")
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
_SEMVER = re.compile(
    r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_SETUP = "server config setup failed: "
# Below zero these mean nothing, and Nomad takes them without a word.
_NOT_NEGATIVE = (
    "server.bootstrap_expect",
    "server.num_schedulers",
    "server.retry_max",
    "server.server_join.retry_max",
    "server.raft_snapshot_threshold",
    "server.raft_trailing_logs",
    "server.default_scheduler_config.node_limit_for_feasibility_checks",
    "autopilot.max_trailing_logs",
    "autopilot.min_quorum",
    "limits.http_max_bad_tokens",
    "log_rotate_bytes",
    "log_rotate_max_files",
)
_JOINS = (
    "server.server_join.retry_join",
    "server.server_join.start_join",
    "server.retry_join",
    "server.start_join",
)
_OWN_DURATION_CHECKS = {
    "server.job_gc_interval",
    "limits.rpc_handshake_timeout",
    "limits.https_handshake_timeout",
    "autopilot.last_contact_threshold",
}


class _Given(NamedTuple):
    """What the checks look at."""

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...]
    dev: bool
    machine: Machine | None


def validate(
    settings: Settings,
    *,
    origins: Mapping[str, str] | None = None,
    unknown: tuple[str, ...] = (),
    dev: bool = False,
    machine: Machine | None = None,
) -> list[Problem]:
    """All problems and warnings, in the order of the start; empty when all is well.

    `origins` tells which settings were written and where, since a few checks are about that;
    `unknown` are keys that nobody knows in blocks without effect.
    """
    given = _Given(settings, origins or {}, unknown, dev, machine)
    found = [problem for check in _CHECKS for problem in check(given)]
    refused = {key for problem in found if not problem.warning for key in problem.keys}
    found += _without_effect(given, refused)
    return sorted(found, key=lambda problem: problem.phase)


def _problem(phase: Phase, message: str, *keys: str, allowed: str = "") -> Problem:
    return Problem(phase=phase, message=message, keys=keys, allowed=allowed)


def _wrong(message: str, *keys: str, allowed: str = "") -> Problem:
    return _problem(Phase.CHECK, message, *keys, allowed=allowed)


def _warning(message: str, *keys: str) -> Problem:
    return Problem(phase=Phase.CHECK, message=f"WARNING: {message}", keys=keys, warning=True)


def _check_addresses(given: _Given) -> Iterator[Problem]:
    try:
        resolve_addresses(given.settings, given.dev, given.machine)
    except AddressError as error:
        yield _wrong(str(error), *error.keys, allowed=error.allowed)


def _check_role(given: _Given) -> Iterator[Problem]:
    settings = given.settings
    if not (settings.server.enabled or settings.client.enabled):
        message = "Must specify either server, client or dev mode for the agent."
        missing = _wrong(message, "server.enabled", "client.enabled")
        place = (
            "try: bellcow agent -dev; or write server { enabled = true } and data_dir into a file"
        )
        yield msgspec.structs.replace(missing, places=(place,))


def _check_names(given: _Given) -> Iterator[Problem]:
    settings = given.settings
    for title, key, value in (
        ("Name", "name", settings.name),
        ("Region", "region", settings.region),
        ("Datacenter", "datacenter", settings.datacenter),
    ):
        if "\0" in value:
            yield _wrong(f"{title} contains invalid characters", key)
        elif not value and key != "name":  # an empty name is the host's
            yield _wrong(f"{key} must not be empty", key)


def _check_encrypt(given: _Given) -> Iterator[Problem]:
    if not given.settings.server.encrypt:
        return
    allowed = "must be base64 of 16, 24 or 32 bytes, as `operator keygen` prints it"
    try:
        key = encrypt_key(given.settings)
    except ValueError as error:
        yield _wrong(f"Invalid encryption key: {error}", "server.encrypt", allowed=allowed)
        return
    if len(key) not in keyring.SIZES:
        message = "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes"
        yield _problem(Phase.AGENT, message, "server.encrypt", allowed=allowed)


def _is_key(settings: Settings, key: bytes) -> bool:
    try:
        return encrypt_key(settings) == key
    except ValueError:
        return True  # the key that is given is refused already


def _check_keyring(given: _Given) -> Iterator[Problem]:
    path = keyring.path_of(given.settings)
    try:
        if path is None or not path.exists():
            return
        first, *_ = keyring.read_keys(given.settings)
        # Nomad: it warns as well where both are the same, which is so at every start but the first.
        if given.settings.server.encrypt and not _is_key(given.settings, first):
            yield _warning("keyring exists but -encrypt given, using keyring", "server.encrypt")
    except PermissionError:
        return  # `config validate` by another user than the agent's
    except (OSError, ValueError) as error:
        yield _problem(Phase.AGENT, f"failed to configure keyring: {error}")


def _check_peer_ports(given: _Given) -> Iterator[Problem]:
    """Servers that need others, and would hear from everybody."""
    settings = given.settings
    if not settings.server.enabled:
        return
    try:
        addresses = resolve_addresses(settings, given.dev, given.machine)
    except AddressError:
        return  # said by the check of the addresses
    key, why = waits_in_vain(settings, addresses)
    if key:
        fresh = base64.b64encode(SystemClock().random_bytes(32)).decode()
        message, *places = refusal(why, fresh)
        keys = (key, "server.encrypt")
        yield Problem(phase=Phase.AGENT, message=message, keys=keys, places=tuple(places))


def _check_tls_files(given: _Given) -> Iterator[Problem]:
    tls = given.settings.tls
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    if not (tls.http or tls.rpc or tls.verify_server_hostname or any(files)):
        return
    for name in files:
        reason = _unreadable(name)
        if reason:
            yield _warning(f"Error when parsing TLS configuration: open {name}: {reason}")
            break
    yield from _missing_tls_files(tls)
    if tls.key_file and not given.dev:
        yield from _open_secret(tls.key_file)


def _unreadable(name: str) -> str:
    """Why a file cannot be read, in the words of the system; empty when it can."""
    if not name:
        return "no such file or directory"
    try:
        Path(name).open("rb").close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _missing_tls_files(tls: model.Tls) -> Iterator[Problem]:
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
                yield _problem(Phase.AGENT, message, f"tls.{switch}", f"tls.{name}")


def _check_certificates(given: _Given) -> Iterator[Problem]:
    """Whether the agent can use its certificate, and the other servers and clients with it."""
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


def _peer_flaws(given: _Given) -> Iterator[Problem]:
    """Whether the other servers will take this one's certificate."""
    settings, tls = given.settings, given.settings.tls
    cert, key, ca = (
        Pem(name, Path(name).read_bytes()) for name in (tls.cert_file, tls.key_file, tls.ca_file)
    )
    for flaw in find_flaws(cert, key, ca, _wanted(given), _now()):
        # A server that is alone works with a certificate that only others would refuse.
        if flaw.grade == "broken" or (flaw.grade == "unfit" and _has_company(settings)):
            yield _problem(Phase.AGENT, flaw.text)
        else:
            yield _warning(flaw.text)


def _date_warnings(given: _Given) -> Iterator[Problem]:
    """Nomad: the HTTP API starts with a certificate that has expired. Clients refuse it."""
    name = given.settings.tls.cert_file
    for flaw in find_date_flaws(Pem(name, Path(name).read_bytes()), _wanted(given), _now()):
        yield _warning(flaw.text)


def _refused_files(tls: model.Tls, *, between: bool) -> Iterator[Problem]:
    """What the agent itself says of the files, and of a handshake of two servers with them."""
    if tls.tls_min_version not in TLS_VERSIONS or _unknown_ciphers(tls):
        return  # said by the check of the words
    from bellcow.config.tls import http_context, peer_contexts, try_handshake

    try:
        http_context(tls)
    except Error as error:
        yield _problem(Phase.HTTP, error.message)
        return
    try:
        if between and (reason := try_handshake(*peer_contexts(tls))):
            message = f"servers with {tls.cert_file} and {tls.ca_file} refuse each other: {reason}"
            yield _problem(Phase.AGENT, message)
    except Error as error:
        yield _problem(Phase.AGENT, error.message)


def _wanted(given: _Given) -> Wanted:
    settings = given.settings
    return Wanted(
        hosts=_told_hosts(given),
        name=f"server.{settings.region}.nomad" if settings.tls.verify_server_hostname else "",
        region=settings.region,
    )


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, UTC)


def _told_hosts(given: _Given) -> tuple[str, ...]:
    """The hosts under which other servers call this one."""
    try:
        addresses = resolve_addresses(given.settings, given.dev, given.machine)
    except AddressError:
        return ()  # said by the check of the addresses
    return tuple(dict.fromkeys((addresses.rpc_adv[0], addresses.serf_adv[0])))


def _has_company(settings: Settings) -> bool:
    join, server = server_join(settings), settings.server
    several = server.bootstrap_expect > 1 or join.retry_join or join.start_join
    return bool(several) or server.engine == "etcd"


def _open_secret(name: str) -> Iterator[Problem]:
    try:
        mode = stat.S_IMODE(Path(name).stat().st_mode)
    except OSError:
        return  # said by the check of the files themselves
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        message = f"tls.key_file is open to everybody: {name} has mode {mode:04o}"
        yield _problem(Phase.AGENT, message, "tls.key_file", allowed=f"chmod 0600 {name}")


def _check_paths(given: _Given) -> Iterator[Problem]:
    for title, key in (
        ("data-dir", "data_dir"),
        ("plugin-dir", "plugin_dir"),
        ("alloc-dir", "client.alloc_dir"),
        ("state-dir", "client.state_dir"),
        ("server data-dir", "server.data_dir"),
    ):
        path = get_value(given.settings, key)
        if path and not Path(path).is_absolute():
            yield _wrong(f"{title} must be given as an absolute path: got {path}", key)


def _check_scheduler(given: _Given) -> Iterator[Problem]:
    config = given.settings.server.default_scheduler_config
    if config.scheduler_algorithm not in ALGORITHMS:
        message = f"invalid scheduler algorithm: {config.scheduler_algorithm}"
        key = "server.default_scheduler_config.scheduler_algorithm"
        yield _wrong(message, key, allowed=_one_of(ALGORITHMS))
    for name in given.settings.server.enabled_schedulers:
        if name not in SCHEDULERS:
            message = f"server.enabled_schedulers has no kind {quoted(name)}"
            yield _wrong(message, "server.enabled_schedulers", allowed=_one_of(SCHEDULERS))


def _one_of(allowed: tuple[str, ...]) -> str:
    return "must be one of " + ", ".join(allowed)


def _check_data_dir(given: _Given) -> Iterator[Problem]:
    settings = given.settings
    if settings.server.enabled and not settings.data_dir and not given.dev:
        missing = _wrong("Must specify data directory", "data_dir")
        place = "data_dir is not set: it must be an absolute path"
        yield msgspec.structs.replace(missing, places=(place,))


def _check_own_rules(given: _Given) -> Iterator[Problem]:
    server = given.settings.server
    version = server.upgrade_version
    if version and not _SEMVER.fullmatch(version):
        message = f"server.upgrade_version is not a version: {quoted(version)}"
        yield _wrong(message, "server.upgrade_version", allowed="must be like 1.2.3 or 1.2.3-rc1")
    if server.engine not in ENGINES:
        message = f"server.engine is unknown: {quoted(server.engine)}"
        yield _wrong(message, "server.engine", allowed=_one_of(ENGINES))
    elif server.engine == "embedded" and server.bootstrap_expect > 1:
        message = (
            f"server.engine embedded is one server, bootstrap_expect {server.bootstrap_expect}"
        )
        yield _wrong(
            message, "server.engine", "server.bootstrap_expect", allowed="use auto or etcd"
        )
    for key in _NOT_NEGATIVE:
        value = get_value(given.settings, key)
        if value is not None and value < 0:
            yield _wrong(f"{key} must not be negative, got {value}", key)
    for duration in all_keys():
        yield from _check_duration(given.settings, duration)
    threshold = given.settings.autopilot.last_contact_threshold
    if threshold.ns <= 0:
        message = f"autopilot.last_contact_threshold must be longer than zero, got {threshold}"
        yield _wrong(message, "autopilot.last_contact_threshold")
    rate = server.max_heartbeats_per_second
    if not 0 < rate < float("inf"):
        message = f"server.max_heartbeats_per_second must be above zero, got {rate}"
        yield _wrong(message, "server.max_heartbeats_per_second")


def _check_duration(settings: Settings, key: Key) -> Iterator[Problem]:
    if key.kind != "duration" or key.path in _OWN_DURATION_CHECKS:
        return
    value: Duration = get_value(settings, key.path)
    if value.ns < 0:
        yield _wrong(f"{key.path} must not be negative, got {value}", key.path)


def _check_ports(given: _Given) -> Iterator[Problem]:
    ports = given.settings.ports
    numbers = {"http": ports.http, "rpc": ports.rpc, "serf": ports.serf}
    for name, port in numbers.items():
        if not 0 <= port <= 65535:
            yield _wrong(
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
            yield _wrong(message, *keys, allowed="each needs a port of its own")


def _same_host(given: _Given, first: str, second: str) -> bool:
    """Whether two services listen on one address; a wildcard shares its port with every other."""
    bind = given.settings.bind_addr
    hosts = {getattr(given.settings.addresses, name) or bind for name in (first, second)}
    return len(hosts) == 1 or not hosts.isdisjoint({"", "0.0.0.0", "::"})


def _check_bootstrap(given: _Given) -> Iterator[Problem]:
    server = given.settings.server
    key = "server.bootstrap_expect"
    from_flag = given.origins.get(key, "").startswith("-")
    if from_flag and server.bootstrap_expect > 0 and not server.enabled:
        yield _wrong("Bootstrap requires server mode to be enabled", key)
    if not server.enabled or given.dev:
        return
    if server.bootstrap_expect == 1:
        yield _warning("Bootstrap mode enabled! Potentially unsafe operation.", key)
    elif server.bootstrap_expect > 0 and server.bootstrap_expect % 2 == 0:
        yield _warning("Number of bootstrap servers should ideally be set to an odd number.", key)


def _check_client(given: _Given) -> Iterator[Problem]:
    settings = given.settings
    if not settings.client.enabled or given.dev:
        return
    if settings.server.enabled:
        message = "client.enabled: bellcow has no client part yet; this agent is a server only"
        yield _warning(message, "client.enabled")
    else:
        message = "client.enabled is not supported: bellcow runs servers, and has no node agent yet"
        yield _wrong(message, "client.enabled", allowed="run the client with Nomad's own agent")


def _check_discovery(given: _Given) -> Iterator[Problem]:
    """Nomad: servers find each other through Consul. Here each would found its own cluster."""
    server, join = given.settings.server, server_join(given.settings)
    if not server.enabled or given.dev or join.start_join or join.retry_join:
        return
    if "consul" in given.origins and server.bootstrap_expect != 1:
        fate = (
            f"this one waits for {server.bootstrap_expect} servers that it cannot find"
            if server.bootstrap_expect
            else "this one founds a cluster of its own"
        )
        message = (
            f"consul is written, and bellcow looks up no servers there: {fate}; name the others in "
            "server { server_join { retry_join = [...] } }, with bootstrap_expect"
        )
        yield _warning(message, "consul")


def _check_raft_protocol(given: _Given) -> Iterator[Problem]:
    protocol = given.settings.server.raft_protocol
    key = "server.raft_protocol"
    if not 1 <= protocol <= 3:
        message = f"Protocol version {protocol} must be >= 1 and <= 3"
        yield _problem(Phase.AGENT, f"server setup failed: Failed to start Raft: {message}", key)
    elif protocol < 3:
        yield _warning(f"raft_protocol {protocol} is taken as 3, the only one there is", key)


def _without_effect(given: _Given, refused: set[str]) -> Iterator[Problem]:
    """One warning for all settings without effect, by their blocks."""
    keys = {key.path: key for key in all_keys()}
    written = [
        path
        for path, origin in given.origins.items()
        if not origin.startswith("-") and path not in refused and _has_no_effect(keys, path)
    ]
    named = sorted({*written, *given.unknown})
    if named:
        yield _warning("these settings have no effect: " + ", ".join(named), *written)


def _has_no_effect(keys: Mapping[str, Key], path: str) -> bool:
    if path == "client.enabled":
        return False
    return path.startswith("client.") or keys[path].priority in {"L", "C"}


def _check_log_level(given: _Given) -> Iterator[Problem]:
    level = given.settings.log_level
    if level.upper() not in LOG_LEVELS:
        valid = " ".join(LOG_LEVELS)
        message = f"Invalid log level: {level}. Valid log levels are: [{valid}]"
        yield _wrong(message, "log_level")


def _check_syslog(given: _Given) -> Iterator[Problem]:
    facility = given.settings.syslog_facility
    if given.settings.enable_syslog and facility.upper() not in SYSLOG_FACILITIES:
        message = f"Syslog setup failed: invalid syslog facility: {facility}"
        yield _wrong(message, "syslog_facility", allowed="such as DAEMON or LOCAL0 to LOCAL7")


def _check_response_headers(given: _Given) -> Iterator[Problem]:
    key = "http_api_response_headers"
    for name, value in given.settings.http_api_response_headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield _wrong(f"{key} has a name that no header can have: {quoted(name)}", key)
        elif not _HEADER_VALUE.fullmatch(value):
            message = f"{key} has a value for {name} that no header can have: {quoted(value)}"
            yield _wrong(message, key, allowed="printable characters of Latin-1")


def _check_license(given: _Given) -> Iterator[Problem]:
    for issuer in given.settings.license.issuers:
        try:
            issuer_key(issuer)
        except Error as error:
            yield _wrong(f"license.issuers: {error.message}", "license.issuers")


def _check_telemetry(given: _Given) -> Iterator[Problem]:
    for rule in given.settings.telemetry.prefix_filter:
        if rule[:1] not in {"+", "-"}:
            what = f"Filter rule must begin with either '+' or '-': {quoted(rule)}"
            message = what if rule else "Cannot have empty filter rule in prefix_filter"
            yield _problem(Phase.TELEMETRY, message, "telemetry.prefix_filter")


def _check_server_setup(given: _Given) -> Iterator[Problem]:
    server, limits = given.settings.server, given.settings.limits
    if not 1 <= server.raft_multiplier <= 10:
        what = f"raft_multiplier cannot be {server.raft_multiplier}. Must be between 1 and 10"
        yield _problem(Phase.AGENT, _SETUP + what, "server.raft_multiplier")
    if server.event_buffer_size < 0:
        what = "Invalid Config, event_buffer_size must be non-negative"
        yield _problem(Phase.AGENT, _SETUP + what, "server.event_buffer_size")
    if server.job_gc_interval.ns <= 0:
        what = "job_gc_interval should be greater than 0s"
        yield _problem(Phase.AGENT, _SETUP + what, "server.job_gc_interval")
    if limits.rpc_handshake_timeout.ns < 0:
        what = "rpc_handshake_timeout must be >= 0"
        yield _problem(Phase.AGENT, _SETUP + what, "limits.rpc_handshake_timeout")
    connections = limits.rpc_max_conns_per_client
    if connections != 0 and connections <= 25:
        what = f"rpc_max_conns_per_client must be > 25; found: {connections}"
        yield _problem(
            Phase.AGENT, _SETUP + what, "limits.rpc_max_conns_per_client", allowed="or 0"
        )


def _check_tls_words(given: _Given) -> Iterator[Problem]:
    tls = given.settings.tls
    start = "server setup failed: unsupported TLS "
    if tls.tls_min_version not in TLS_VERSIONS:
        what = f"{start}version {quoted(tls.tls_min_version)}"
        yield _problem(Phase.AGENT, what, "tls.tls_min_version", allowed=_one_of(TLS_VERSIONS))
    for cipher in _unknown_ciphers(tls):
        yield _problem(Phase.AGENT, f"{start}cipher {quoted(cipher)}", "tls.tls_cipher_suites")


def _unknown_ciphers(tls: model.Tls) -> list[str]:
    written = filter(None, map(str.strip, tls.tls_cipher_suites.split(",")))
    return [cipher for cipher in written if cipher not in TLS_CIPHERS]


def _check_http_limits(given: _Given) -> Iterator[Problem]:
    limits = given.settings.limits
    if limits.https_handshake_timeout.ns < 0:
        message = "https_handshake_timeout must be >= 0"
        yield _problem(Phase.HTTP, message, "limits.https_handshake_timeout")
    if limits.http_max_conns_per_client < 0:
        message = "http_max_conns_per_client must be >= 0"
        yield _problem(Phase.HTTP, message, "limits.http_max_conns_per_client")


def _check_join(given: _Given) -> Iterator[Problem]:
    server, join = given.settings.server, given.settings.server.server_join
    if join.start_join or join.retry_join:
        for name in ("retry_join", "start_join", "retry_max", "retry_interval"):
            key = f"server.{name}"
            if key in given.origins:
                message = (
                    f"server_join and {name} cannot both be defined; "
                    "prefer setting the server_join stanza"
                )
                yield _problem(Phase.JOIN, message, key)
    if (join.start_join and join.retry_join) or (server.start_join and server.retry_join):
        block = "server.server_join" if join.start_join else "server"
        message = "retry_join and start_join cannot both be defined"
        yield _problem(Phase.JOIN, message, f"{block}.retry_join", f"{block}.start_join")
    if given.settings.client.server_join.start_join:
        message = "start_join is not supported for Nomad clients"
        yield _problem(Phase.JOIN, message, "client.server_join.start_join")


def _check_join_addresses(given: _Given) -> Iterator[Problem]:
    for key in _JOINS:
        faults = [join_fault(text) for text in get_value(given.settings, key)]
        fault = next(filter(None, faults), "")
        if fault:
            problem = _wrong(f"{key} cannot be joined: {fault}", key)
            # Without the value: cloud auto-join may carry secrets.
            origin = given.origins.get(key, key)
            place = f"{origin}: element {faults.index(fault) + 1} of {key}"
            yield msgspec.structs.replace(problem, places=(place,))


_CHECKS: tuple[Callable[[_Given], Iterator[Problem]], ...] = (
    _check_addresses,
    _check_role,
    _check_names,
    _check_encrypt,
    _check_keyring,
    _check_peer_ports,
    _check_tls_words,
    _check_tls_files,
    _check_certificates,
    _check_paths,
    _check_scheduler,
    _check_data_dir,
    _check_own_rules,
    _check_ports,
    _check_bootstrap,
    _check_client,
    _check_discovery,
    _check_join_addresses,
    _check_raft_protocol,
    _check_log_level,
    _check_syslog,
    _check_response_headers,
    _check_license,
    _check_telemetry,
    _check_server_setup,
    _check_http_limits,
    _check_join,
)
