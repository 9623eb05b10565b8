"""`license`: the license of the cluster, and signing licenses of your own."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import msgspec

from bellcow.cli import goflags
from bellcow.cli.failure import CommandError, failing
from bellcow.cli.files import read_input, write_private
from bellcow.cli.goflags import Takes, flag, switch
from bellcow.cli.output import pairs, say, show
from bellcow.cli.session import Session, as_data, command

_LICENSE = "/v1/operator/license"
_NO_CONTENT = 204


@command(
    "Shows the license of the cluster; ends with 1 when it has expired.\n\n"
    "Needs operator:read or license-read."
)
@switch("stale", "Ask this server for what it knows, leader or not.")
@as_data
def get(session: Session, *, stale: bool, as_json: bool, template: str) -> None:
    prefix = "Error getting license: "
    with failing(prefix):
        query = {"stale": ""} if stale else {}
        accept = frozenset({200, _NO_CONTENT})
        answer = session.client.request("GET", _LICENSE, query=query, accept=accept)
        if answer.status == _NO_CONTENT:
            answer.body()
            raise CommandError(f"{prefix}Nomad Enterprise only endpoint")
        reply: dict[str, Any] = answer.json()
    expired = _passed(reply["License"]["ExpirationTime"])
    show(
        reply,
        lambda: _block(reply["License"], expired=expired),
        as_json=as_json,
        template=template,
        go_type="*api.LicenseReply",
    )
    if expired:
        raise CommandError("")


def _passed(text: str) -> bool:
    from bellcow.clock import SystemClock
    from bellcow.license.rules import parse_time

    return SystemClock().wall_ns() >= parse_time(text)


def _block(license_: dict[str, Any], *, expired: bool) -> str:
    rows = [
        ("Product", license_["Product"]),
        ("License Status", "expired!" if expired else "valid"),
        ("License ID", license_["LicenseID"]),
        ("Customer ID", license_["CustomerID"]),
        ("Issued At", license_["IssueTime"]),
        ("Expired At" if expired else "Expires At", license_["ExpirationTime"]),
        ("Terminates At", license_["TerminationTime"]),
        ("Datacenter", license_["InstallationID"]),
    ]
    lines = [pairs(rows)]
    for title, key in (("Modules:", "Modules"), ("Licensed Features:", "Features")):
        if license_.get(key):
            lines += [title, *(f"\t{one}" for one in license_[key])]
    return "\n".join(lines)


@command(
    "Installs a license from a file, or from standard input for -.\n\nNeeds operator:write.",
    takes=Takes(0, None, "", "<file>|-"),
)
def put(session: Session, *, words: tuple[str, ...]) -> None:
    blob = _read_one(words)
    with failing("Error putting license: "):
        session.client.request("PUT", _LICENSE, body=blob.encode()).body()
    say("Successfully applied license")


def _read_one(words: tuple[str, ...]) -> str:
    """The license that the one argument names."""
    prefix = "Error parsing arguments: "
    if not words:
        raise CommandError(f"{prefix}Missing LICENSE argument")
    if len(words) > 1:
        # Nomad: a slip of the pen, which scripts match on.
        raise CommandError(f"{prefix}Too many arguments, exptected 1, got {len(words)}")
    return read_input(words[0], f"{prefix}Failed to read file: ").strip()


@goflags.command(
    "Shows what a license file says, without a server.\n\n"
    "With -issuer the signature is checked as well.",
    takes=Takes(0, None, "", "<file>|-"),
)
@flag("issuer", "key", "Public key that must have signed it; may be given again.", many=True)
@as_data
def inspect(
    *, issuer: tuple[str, ...], as_json: bool, template: str, words: tuple[str, ...]
) -> None:
    blob = _read_one(words)
    with failing("Error reading license: "):
        license_ = _claims(blob)
        if issuer:
            from bellcow.license.rules import read

            read(blob, issuer, str(license_.get("InstallationID", "")))

    def text() -> str:
        checked = "valid" if issuer else "not checked: give -issuer"
        expired = _passed(license_["ExpirationTime"])
        return f"{_block(license_, expired=expired)}\nSignature: {checked}"

    show(license_, text, as_json=as_json, template=template)


def _claims(blob: str) -> dict[str, Any]:
    """The claims as they stand in the text, unchecked."""
    try:
        payload = blob.split(".")[1]
        padded = payload + "=" * (-len(payload) % 4)
        claims = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, Any])
    except (IndexError, binascii.Error, ValueError) as error:
        raise CommandError("Error reading license: this is no signed license text") from error
    missing = [key for key in ("LicenseID", "ExpirationTime") if key not in claims]
    if missing:
        raise CommandError(f"Error reading license: {' and '.join(missing)} missing in it")
    defaults = dict.fromkeys(
        ("Product", "CustomerID", "IssueTime", "TerminationTime", "InstallationID"), ""
    )
    return defaults | claims


@goflags.command(
    "Makes a key to sign licenses with.\n\n"
    "The private key goes into a new file that only you may read; the public one is printed, for "
    "issuers in the license block of the servers' configuration."
)
@flag("out", "file", "Where the private key goes.", default="license.key")
def keygen(*, out: str) -> None:
    from bellcow.license.rules import new_key

    private, public = new_key()
    write_private(Path(out), private)
    say(public)


@goflags.command(
    "Signs a license and prints it.\n\n"
    "CLAIMS is a JSON file, or - for standard input, with the fields that 'license get -json' "
    "shows under License.",
    takes=Takes(1, 1, "This command takes one argument: <claims>", "<claims>|-"),
)
@flag("key", "file", "The private key that 'license keygen' made.", default="license.key")
def issue(*, key: str, words: tuple[str, ...]) -> None:
    from bellcow.license import rules

    try:
        claims = msgspec.json.decode(read_input(words[0]), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise CommandError(f"Error reading claims: {error}") from error
    private = read_input(key, "Failed to read key: ")
    with failing("Error issuing license: "):
        say(rules.issue(claims, private))
