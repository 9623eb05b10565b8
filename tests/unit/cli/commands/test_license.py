from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.clock import SystemClock
from bellcow.gocompat.time import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLAIMS: dict[str, Any] = {
    "CustomerID": "acme",
    "ExpirationTime": "2999-01-01T00:00:00Z",
    "Features": ["Redundancy Zones"],
    "Flags": {},
    "InstallationID": "*",
    "IssueTime": "2020-01-01T00:00:00Z",
    "LicenseID": "lic-1",
    "Modules": ["governance-policy"],
    "Product": "nomad",
    "StartTime": "2020-01-01T00:00:00Z",
    "TerminationTime": "2999-02-01T00:00:00Z",
}
BLOCK = """\
Product        = nomad
License Status = valid
License ID     = lic-1
Customer ID    = acme
Issued At      = 2020-01-01T00:00:00Z
Expires At     = 2999-01-01T00:00:00Z
Terminates At  = 2999-02-01T00:00:00Z
Datacenter     = *
Modules:
\tgovernance-policy
Licensed Features:
\tRedundancy Zones
"""
PATH = "/v1/operator/license"


def test_a_license_is_shown(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", {"License": CLAIMS})
    result = cli("license", "get")
    assert (result.status, result.out, result.err) == (0, BLOCK, "")
    assert cli("license", "get", "-stale", "-t", "{{.License.LicenseID}}").out == "lic-1\n"
    assert server.requests[1].target == f"{PATH}?stale="


def test_an_expired_license_ends_with_one(cli: Callable[..., Any], server: Any) -> None:
    past = {**CLAIMS, "ExpirationTime": "2020-02-01T00:00:00Z"}  # and it ends in 2999
    server.on(f"GET {PATH}", {"License": past})
    result = cli("license", "get")
    assert (result.status, result.err) == (1, "")
    assert "License Status = expired!\n" in result.out
    assert "Expired At     = 2020-02-01T00:00:00Z\n" in result.out


def in_days(days: float) -> str:
    return rfc3339(SystemClock().wall_ns() + int(days * 24 * 3600) * 1_000_000_000)


def test_a_license_that_expires_soon_says_when(cli: Callable[..., Any], server: Any) -> None:
    soon = {**CLAIMS, "ExpirationTime": in_days(2.5), "TerminationTime": in_days(9)}
    server.on(f"GET {PATH}", {"License": soon})
    result = cli("license", "get")
    assert (result.status, result.err) == (0, "")
    assert "License Status = valid (expiring)\n" in result.out
    assert result.out.endswith(" and expires in 2 days; install a new license.\n")


def test_an_expired_license_names_the_stopped_features(
    cli: Callable[..., Any], server: Any
) -> None:
    features = ["Automated Upgrades", "Namespaces"]
    ended = {
        **CLAIMS,
        "ExpirationTime": in_days(-2),
        "TerminationTime": in_days(-1),
        "Features": features,
    }
    server.on(f"GET {PATH}", {"License": ended})
    result = cli("license", "get")
    assert (result.status, result.err) == (1, "")
    assert "License Status = terminated!\n" in result.out
    listed = (
        "Licensed Features:\n\tNamespaces\nStopped Features:\n\tAutomated Upgrades\nThe license"
    )
    assert listed in result.out


def test_a_license_that_starts_tomorrow_is_not_shown_as_valid(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    key = tmp_path / "license.key"
    public = cli("license", "keygen", f"-out={key}").out.strip()
    claims = msgspec.json.encode({**CLAIMS, "StartTime": "2998-01-01T00:00:00Z"})
    blob = cli("license", "issue", f"-key={key}", "-", stdin=claims).out.encode()
    result = cli("license", "inspect", "-", f"-issuer={public}", stdin=blob)
    assert result.status == 0
    assert "License Status = not valid yet\n" in result.out
    assert "It can be installed from 2998-01-01T00:00:00Z on.\nSignature: valid\n" in result.out


def test_a_start_that_is_no_time_is_blamed_by_its_name(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    key = tmp_path / "license.key"
    cli("license", "keygen", f"-out={key}")
    claims = {name: value for name, value in CLAIMS.items() if name != "IssueTime"}
    body = msgspec.json.encode({**claims, "StartTime": "tomorrow"})
    refused = cli("license", "issue", f"-key={key}", "-", stdin=body)
    assert "StartTime of the license is not a time like" in refused.err


def test_a_server_without_licenses_is_recognized(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", b"", 204)
    assert cli("license", "get").err == ("Error getting license: Nomad Enterprise only endpoint\n")


def test_a_license_is_put(cli: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    server.on(f"PUT {PATH}", {"Index": 9})
    (tmp_path / "l").write_text("blob\n")
    assert cli("license", "put", str(tmp_path / "l")).out == "Successfully applied license\n"
    assert cli("license", "put", "-", stdin=b"blob2").status == 0
    assert [request.body for request in server.requests] == [b"blob", b"blob2"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Missing LICENSE argument"),
        (("a", "b"), "Too many arguments, exptected 1, got 2"),
        (("nope.lic",), "Failed to read file: open nope.lic: no such file or directory"),
    ],
)
@pytest.mark.parametrize("command", ["put", "inspect"])
def test_bad_arguments_are_refused(
    cli: Callable[..., Any], command: str, words: tuple[str, ...], text: str
) -> None:
    result = cli("license", command, *words)
    assert (result.status, result.err) == (1, f"Error parsing arguments: {text}\n")


def test_a_key_signs_a_license_that_can_be_inspected(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    key = tmp_path / "license.key"
    made = cli("license", "keygen", f"-out={key}")
    public = made.out.strip()
    assert f"The private key is in {key}." in made.err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    claims = tmp_path / "claims.json"
    claims.write_bytes(msgspec.json.encode(CLAIMS))
    blob = cli("license", "issue", f"-key={key}", str(claims)).out.encode()
    plain = cli("license", "inspect", "-", stdin=blob)
    assert plain.out == BLOCK + "Signature: not checked: give -issuer\n"
    checked = cli("license", "inspect", "-", f"-issuer={public}", stdin=blob)
    assert checked.out == BLOCK + "Signature: valid\n"
    assert cli("license", "inspect", "-", "-t", "{{.LicenseID}}", stdin=blob).out == "lic-1\n"
    other = cli("license", "keygen", f"-out={tmp_path / 'other.key'}").out.strip()
    refused = cli("license", "inspect", "-", f"-issuer={other}", stdin=blob)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith("Error reading license: ")


def test_a_key_is_never_overwritten(cli: Callable[..., Any], tmp_path: Path) -> None:
    key = tmp_path / "k"
    key.write_text("precious")
    assert cli("license", "keygen", f"-out={key}").err == (
        f"Failed to create file: open {key}: file exists\n"
    )
    assert key.read_text() == "precious"


@pytest.mark.parametrize("text", [b"", b"abc", b"a.!!!.c", b"a.e30.c", b"a.W10.c"])
def test_a_malformed_license_is_refused(cli: Callable[..., Any], text: bytes) -> None:
    result = cli("license", "inspect", "-", stdin=text)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error reading license: ")
    assert len(result.err.splitlines()) == 1


def test_claims_that_cannot_be_signed_are_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    key = tmp_path / "k"
    cli("license", "keygen", f"-out={key}")
    assert cli("license", "issue", f"-key={key}", "-", stdin=b"{").err.startswith(
        "Error reading claims: "
    )
    assert cli("license", "issue", f"-key={key}", "-", stdin=b'{"Bogus":1}').err.startswith(
        "Error issuing license: unknown claims Bogus"
    )
    assert cli("license", "issue", "-key=/none", "-", stdin=b"{}").err == (
        "Failed to read key: open /none: no such file or directory\n"
    )
