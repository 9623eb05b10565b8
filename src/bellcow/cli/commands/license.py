"""`license`: the license of the cluster, and signing licenses of your own."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.files import read_input, write_private
from bellcow.cli.shell.flags import flag
from bellcow.cli.shell.output import note, one_line, pairs, say, show
from bellcow.cli.shell.session import Session, as_data, command, if_stale, stale_switch
from bellcow.wire import UNDECODABLE, undecodable

_LICENSE = "/v1/operator/license"
_NO_CONTENT = 204


@command(
    "Shows the license of the cluster; ends with 1 when it has expired.\n\n"
    "Needs operator:read or license-read."
)
@stale_switch
@as_data
def get(session: Session, *, stale: bool, as_json: bool, template: str) -> None:
    prefix = "Error getting license: "
    with failing(prefix):
        accept = frozenset({200, _NO_CONTENT})
        query = if_stale(stale=stale)
        answer = session.client.request("GET", _LICENSE, query=query, accept=accept)
        if answer.status == _NO_CONTENT:
            answer.body()
            raise CommandError(f"{prefix}Nomad Enterprise only endpoint")
        reply: dict[str, Any] = answer.json()
        found = _status(reply["License"])
    show(
        reply,
        lambda: _block(reply["License"], found),
        as_json=as_json,
        template=template,
        go_type="*api.LicenseReply",
    )
    if found.passed:
        raise CommandError("")


class _Found(NamedTuple):
    """The status of a license, and its consequences."""

    word: str
    passed: bool = False  # the expiration
    stopped: frozenset[str] = frozenset()  # features
    more: str = ""


def _status(claims: dict[str, Any], *, installed: bool = True) -> _Found:
    from bellcow.clock import SystemClock
    from bellcow.license.rules import LICENSED, Phase, starts_later, status
    from bellcow.model.license import License

    expiration = claims["ExpirationTime"]
    license_ = License(
        start_time=claims.get("StartTime") or expiration,
        expiration_time=expiration,
        termination_time=claims.get("TerminationTime") or expiration,
    )
    now_ns = SystemClock().wall_ns()
    if not installed and claims.get("StartTime") and starts_later(license_, now_ns):
        return _Found("not valid yet", more=f"It can be installed from {license_.start_time} on.")
    found = status(license_, now_ns)
    more = f"{found.text[0].upper()}{found.text[1:]}."
    match found.phase:
        case Phase.VALID:
            return _Found("valid")
        case Phase.EXPIRING:
            return _Found("valid (expiring)", more=more)
        case Phase.EXPIRED:
            return _Found("expired!", passed=True, more=more)
        case Phase.TERMINATED:
            return _Found("terminated!", passed=True, stopped=LICENSED, more=more)


def _block(license_: dict[str, Any], found: _Found) -> str:
    expired = found.passed
    rows = [
        ("Product", license_["Product"]),
        ("License Status", found.word),
        ("License ID", license_["LicenseID"]),
        ("Customer ID", license_["CustomerID"]),
        ("Issued At", license_["IssueTime"]),
        ("Expired At" if expired else "Expires At", license_["ExpirationTime"]),
        ("Terminates At", license_["TerminationTime"]),
        ("Datacenter", license_["InstallationID"]),
    ]
    lines = [pairs(rows)]
    features = license_.get("Features") or ()
    for title, entries in (
        ("Modules:", license_.get("Modules") or ()),
        ("Licensed Features:", [one for one in features if one not in found.stopped]),
        ("Stopped Features:", [one for one in features if one in found.stopped]),
    ):
        if entries:
            lines += [title, *(f"\t{one_line(one)}" for one in entries)]
    return "\n".join([*lines, *([found.more] if found.more else [])])


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
    """The license in the file that the argument names.

    Raises:
        CommandError: there is not exactly one argument, or the file cannot be read.
    """
    prefix = "Error parsing arguments: "
    if not words:
        raise CommandError(f"{prefix}Missing LICENSE argument")
    if len(words) > 1:
        # Nomad: a misspelling that scripts match on.
        raise CommandError(f"{prefix}Too many arguments, exptected 1, got {len(words)}")
    return read_input(words[0], f"{prefix}Failed to read file: ").strip()


@flags.command(
    "Shows the content of a license file, without a server.\n\n"
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
        found = _status(license_, installed=False)

    def text() -> str:
        checked = "valid" if issuer else "not checked: give -issuer"
        return f"{_block(license_, found)}\nSignature: {checked}"

    show(license_, text, as_json=as_json, template=template)


def _claims(blob: str) -> dict[str, Any]:
    """The claims of a license, not verified.

    Raises:
        CommandError: the text is no signed license, or lacks a claim.
    """
    try:
        payload = blob.split(".")[1]
        padded = payload + "=" * (-len(payload) % 4)
        claims = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, Any])
    except (IndexError, binascii.Error, ValueError) as error:
        raise CommandError("Error reading license: the text is not a signed license") from error
    missing = [key for key in ("LicenseID", "ExpirationTime") if key not in claims]
    if missing:
        raise CommandError(f"Error reading license: {' and '.join(missing)} missing in it")
    defaults = dict.fromkeys(
        ("Product", "CustomerID", "IssueTime", "TerminationTime", "InstallationID"), ""
    )
    return defaults | claims


@flags.command(
    "Makes a key to sign licenses with.\n\n"
    "The private key goes into a new file that only you may read; the public one is printed, for "
    "issuers in the license block of the servers' configuration."
)
@flag("out", "file", "Path of the private key.", default="license.key")
def keygen(*, out: str) -> None:
    from bellcow.license.signature import new_key

    private, public = new_key()
    write_private(Path(out), private)
    say(public)
    note(f"The private key is in {out}. Keep it where no server can reach it.")


@flags.command(
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
    except UNDECODABLE as error:
        raise CommandError(f"Error reading claims: not JSON: {undecodable(error)}") from error
    private = read_input(key, "Failed to read key: ")
    with failing("Error issuing license: "):
        say(rules.issue(claims, private))
