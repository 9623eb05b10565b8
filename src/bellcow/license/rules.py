"""Checks and reads a license: signature, dates, product, installation, features.

Pure: the time and the cluster's id are arguments. The libraries for keys are imported where they
are used: most servers never see a signed license.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.errors import invalid
from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import parse_time
from bellcow.license.signature import (
    _ALGORITHM,
    _one_algorithm,
    _private_key,
    check_form,
    payload_of,
)
from bellcow.model.license import FEATURES, License
from bellcow.wire import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


PRODUCT = "nomad"
ANY_INSTALLATION = "*"
WARN_BEFORE_NS = 30 * 24 * 3600 * NS_PER_S

# No license names it, so it runs for as long as any license does.
SNAPSHOT_AGENT = "Snapshot Agent"
LICENSED = frozenset(
    {"Automated Upgrades", "Enhanced Read Scalability", "Redundancy Zones", SNAPSHOT_AGENT}
)
FREE = frozenset(FEATURES) - LICENSED

_DAY_NS = 24 * 3600 * NS_PER_S


class Phase(enum.Enum):
    """The phase of a license's life."""

    VALID = "valid"
    EXPIRING = "expiring"  # within 30 days
    EXPIRED = "expired"  # to be replaced, but all features still work
    TERMINATED = "terminated"  # the licensed features have stopped


class Status(msgspec.Struct, frozen=True):
    """The phase, a sentence for the log and for health, and when the phase ends (ns, wall time).

    The sentence does not name the license: health needs no token.
    """

    phase: Phase
    text: str
    ends_ns: int | None = None


class LastReport(msgspec.Struct, frozen=True):
    """The last report of a license in the log."""

    license_id: str
    phase: Phase
    at_ns: int


class _Dates(msgspec.Struct, frozen=True):
    start_ns: int
    expiration_ns: int
    termination_ns: int


# Keys and signed texts


def issue(claims: Mapping[str, Any], private_pem: str) -> str:
    """Sign a license. The claims are those that `GET /v1/operator/license` shows.

    IssueTime defaults to StartTime.

    Raises:
        invalid: the claims or the key are wrong.
    """
    from joserfc import jws

    known = {field.encode_name for field in msgspec.structs.fields(License)}
    unknown = sorted(set(claims) - known)
    if unknown:
        raise invalid(f"unknown claims {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    license_ = _convert({"IssueTime": claims.get("StartTime", ""), **claims})
    strange = sorted(set(license_.features) - set(FEATURES))
    if strange:
        raise invalid(f"unknown features {', '.join(strange)}; known are {', '.join(FEATURES)}")
    _check(license_)
    header = {"alg": _ALGORITHM, "typ": "JWT"}
    key = _private_key(private_pem)
    return jws.serialize_compact(header, to_json(license_), key, registry=_one_algorithm())


def verify(blob: str, issuers: Sequence[str], now_ns: int, cluster_id: str) -> License:
    """The license in a signed text, if it may be installed now. `now_ns` is wall time.

    Raises:
        invalid: what `read` refuses, or it is not valid yet, or has expired.
    """
    license_ = read(blob, issuers, cluster_id)
    dates = _dates(license_)
    if now_ns < dates.start_ns:
        raise invalid(f"the license is not valid before {license_.start_time}")
    if now_ns >= dates.expiration_ns:
        raise invalid(f"the license expired on {license_.expiration_time}")
    return license_


def read(blob: str, issuers: Sequence[str], cluster_id: str) -> License:
    """The license in a signed text, whatever its dates: for one that is installed already.

    Raises:
        invalid: no issuer signed it, or its claims are wrong, or of another installation.
    """
    text = blob.strip()
    if not issuers:
        raise invalid("no license issuer is configured on this cluster")
    check_form(text)
    license_ = _decode(payload_of(text, issuers))
    _check(license_)
    if license_.installation_id not in {ANY_INSTALLATION, cluster_id}:
        raise invalid(
            f"the license is for installation {license_.installation_id}, this is {cluster_id}"
        )
    return license_


# Claims


def _decode(payload: bytes) -> License:
    try:
        return msgspec.json.decode(payload, type=License)
    except (ValueError, RecursionError) as problem:
        raise invalid(f"the claims of the license are not understood: {problem}") from None


def _convert(claims: dict[str, Any]) -> License:
    try:
        return msgspec.convert(claims, License)
    except ValueError as problem:
        raise invalid(f"the claims of the license are not understood: {problem}") from None


def _check(license_: License) -> None:
    if license_.product != PRODUCT:
        raise invalid(f"the license is for product {license_.product[:40]!a}, not for {PRODUCT}")
    if not license_.license_id:
        raise invalid("LicenseID of the license is missing")
    _dates(license_)  # before IssueTime, which may have been taken from StartTime
    _time("IssueTime", license_.issue_time)  # clients fail on an answer with another text there


def _dates(license_: License) -> _Dates:
    dates = _Dates(
        _time("StartTime", license_.start_time),
        _time("ExpirationTime", license_.expiration_time),
        _time("TerminationTime", license_.termination_time),
    )
    if not dates.start_ns <= dates.expiration_ns <= dates.termination_ns:
        raise invalid(
            "StartTime, ExpirationTime and TerminationTime of the license are not in that order"
        )
    return dates


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise invalid(f"{name} of the license is not a time like 2006-01-02T15:04:05Z") from None


# Built-in licenses


# The phase of a license


def status(license_: License, now_ns: int) -> Status:
    """The phase of an installed license at `now_ns`, wall time."""
    dates = _dates(license_)
    if now_ns >= dates.termination_ns:
        stopped = ", ".join(sorted(LICENSED))
        text = f"the license ended on {license_.termination_time}; stopped: {stopped}"
        return Status(Phase.TERMINATED, f"{text}; install a new license")
    if now_ns >= dates.expiration_ns:
        left = _left(dates.termination_ns - now_ns)
        text = f"the license expired on {license_.expiration_time}; its features stop {left}"
        return Status(Phase.EXPIRED, f"{text}; install a new license", dates.termination_ns)
    until = f"the license is valid until {license_.expiration_time}"
    warn_ns = dates.expiration_ns - WARN_BEFORE_NS
    if now_ns >= warn_ns:
        left = _left(dates.expiration_ns - now_ns)
        text = f"{until} and expires {left}; install a new license"
        return Status(Phase.EXPIRING, text, dates.expiration_ns)
    return Status(Phase.VALID, until, warn_ns)


def is_report_due(license_id: str, found: Status, last: LastReport | None, now_ns: int) -> bool:
    """Whether the log reports it: each phase once, and every phase but VALID again each day."""
    if last is None:
        return found.phase is not Phase.VALID
    if (last.license_id, last.phase) != (license_id, found.phase):
        return True
    return found.phase is not Phase.VALID and now_ns - last.at_ns >= _DAY_NS


def starts_later(license_: License, now_ns: int) -> bool:
    """Whether the license is not valid yet."""
    return now_ns < _dates(license_).start_ns


def _left(ns: int) -> str:
    for unit_ns, unit in ((_DAY_NS, "day"), (3600 * NS_PER_S, "hour"), (60 * NS_PER_S, "minute")):
        count = ns // unit_ns
        if count:
            return f"in {count} {unit}{'' if count == 1 else 's'}"
    return "in less than a minute"


def features_in_force(license_: License, now_ns: int) -> frozenset[str]:
    """The features that work now. Those that need no license always do.

    A start in the future does not matter: the license was valid when it was installed, and a clock
    that was set back must not stop a cluster.
    """
    if now_ns >= _dates(license_).termination_ns:
        return FREE
    return FREE | (LICENSED & {SNAPSHOT_AGENT, *license_.features})
