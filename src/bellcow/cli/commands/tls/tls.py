"""`tls`: a certificate authority of your own, and certificates signed by it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.cli.shell import flags
from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.files import read_input, write_private, write_public
from bellcow.cli.shell.flags import INT, flag, switch
from bellcow.cli.shell.output import note, say
from bellcow.cli.shell.settings import variable

if TYPE_CHECKING:
    from datetime import datetime

    from bellcow.cli.commands.tls.authority import Pair, Subject

_DAYS_MAX = 36_500
_DOMAIN = "#DOMAIN#"  # Nomad: replaces -domain in the names of the authority's files
_IN_A_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_SHOWN = {"server": "Server", "client": "Client", "cli": "CLI"}
_POWERFUL = (
    "==> WARNING: anyone with the key of a server's certificate can act as a server and see all\n"
    "    state, tokens included. Keep it on that server alone."
)


def _now() -> datetime:
    from datetime import UTC, datetime

    from bellcow.clock import SystemClock

    return datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, UTC)


def _check_days(days: int) -> None:
    if not 1 <= days <= _DAYS_MAX:
        raise CommandError(f"-days must be between 1 and {_DAYS_MAX}")


def _check_free(path: Path, what: str, more: str = "") -> None:
    if path.exists():
        raise CommandError(f"{what} file '{path}' already exists{more}")


@flags.command(
    "Makes a certificate authority, as two files in this directory.\n\n"
    "The key signs certificates: keep it where no server runs."
)
@flag("additional-domain", "name", "Domain to allow too; may be given again.", many=True)
@flag("common-name", "name", "Name of the authority; by default one with its number.", default="")
@flag("days", "number", "Days that it is valid.", kind=INT, default=1825)
@flag("domain", "name", "Domain to allow, and the beginning of the file names.", default="nomad")
@switch("name-constraint", "Allow only names in nomad, localhost and the domains given.")
def create_authority(
    *,
    additional_domain: tuple[str, ...],
    common_name: str,
    days: int,
    domain: str,
    name_constraint: bool,
) -> None:
    from bellcow.cli.commands.tls.authority import make_authority

    if (domain != "nomad" or additional_domain) and not name_constraint:
        raise CommandError(
            "Please provide the -name-constraint flag to use a custom domain constraint"
        )
    _check_days(days)
    _check_word("domain", domain)
    cert, key = Path(f"{domain}-agent-ca.pem"), Path(f"{domain}-agent-ca-key.pem")
    _check_free(cert, "CA certificate")
    _check_free(key, "CA key")
    allowed = [domain, "localhost", "nomad", *additional_domain] if name_constraint else []
    with failing(""):
        made = make_authority(common_name, list(dict.fromkeys(allowed)), days, _now())
    _write(made, cert, key)
    say(f"==> CA certificate saved to: {cert}")
    say(f"==> CA certificate key saved to: {key}")


@flags.command(
    "Makes a certificate signed by the authority, as two files in this directory.\n\n"
    "A server's is for server.REGION.nomad, localhost and 127.0.0.1, for use on either side of a "
    "connection; give the address that the server advertises with -additional-ipaddress."
)
@flag("additional-dnsname", "name", "Name to add; may be given again.", many=True)
@flag("additional-ipaddress", "address", "IP address to add; may be given again.", many=True)
@flag("ca", "file", "The authority.", default=f"{_DOMAIN}-agent-ca.pem")
@switch("cli", "For a person or program that calls the HTTP API.")
@switch("client", "For a client node.")
@flag("cluster-region", "name", "The old spelling of -region.", hidden=True)
@flag("days", "number", "Days that it is valid.", kind=INT, default=365)
@flag("domain", "name", "Domain of a further name, and the end of the file names.", default="nomad")
@flag("key", "file", "The key of the authority.", default=f"{_DOMAIN}-agent-ca-key.pem")
@flag("region", "name", "Region of the server or client; global by default.")
@switch("server", "For a server.")
def create_certificate(
    *,
    additional_dnsname: tuple[str, ...],
    additional_ipaddress: tuple[str, ...],
    ca: str,
    cluster_region: str | None,
    days: int,
    domain: str,
    key: str,
    region: str | None,
    **roles: bool,
) -> None:
    from bellcow.cli.commands.tls.authority import Pair, make_certificate

    asked = [role for role, wanted in roles.items() if wanted]
    if len(asked) != 1:
        raise CommandError("Please provide either -server, -client, or -cli")
    (role,) = asked
    region = region or cluster_region or variable(os.environ, "REGION") or "global"
    _check_days(days)
    _check_word("domain", domain)
    _check_word("region", region)
    stem = f"{region}-{role}-{domain}"
    cert_file, key_file = Path(f"{stem}.pem"), Path(f"{stem}-key.pem")
    more = "\nMake each server's in a directory of its own, with -ca and -key"
    _check_free(cert_file, "Certificate", more)
    _check_free(key_file, "Key", more)
    ca, key = (_given(name, file, domain) for name, file in (("ca", ca), ("key", key)))
    by = Pair(read_input(ca, "Error reading CA: "), read_input(key, "Error reading CA key: "))
    subject = _subject(role, region, domain, additional_dnsname, additional_ipaddress)
    with failing(""):
        made = make_certificate(by, subject, days, _now())
    if role == "server":
        note(_POWERFUL)
    say(f"==> Using CA file {ca} and CA key {key}")
    _write(made, cert_file, key_file)
    # Nomad: it formats one of the two names differently.
    say(f"==> {_SHOWN[role].replace('CLI', 'Cli')} Certificate saved to {cert_file}")
    say(f"==> {_SHOWN[role]} Certificate key saved to {key_file}")


def _check_word(name: str, text: str) -> None:
    """Check a word that becomes part of a DNS name and of a file name.

    Raises:
        CommandError: it has other characters than letters, digits, dots and hyphens.
    """
    if not _IN_A_FILE_NAME.fullmatch(text):
        raise CommandError(f"-{name} must be letters, digits, dots and hyphens: {text!r}")


def _given(name: str, file: str, domain: str) -> str:
    if not file:
        raise CommandError(f"Please provide the {name}")
    return file.replace(_DOMAIN, domain, 1)


def _subject(
    role: str, region: str, domain: str, names: tuple[str, ...], addresses: tuple[str, ...]
) -> Subject:
    """Names, addresses and usages for a role.

    Nomad: a certificate of another region also names the servers of the region global. Ours
    does not: a server of one region could impersonate one of another.
    """
    from bellcow.cli.commands.tls.authority import AS_CLIENT, AS_SERVER, Subject

    own = [f"{role}.{region}.{domain}", f"{role}.{region}.nomad", "localhost"]
    local = [] if role == "cli" else ["127.0.0.1"]
    return Subject(
        names=tuple(dict.fromkeys([*own, *map(str.strip, names)])),
        addresses=tuple(dict.fromkeys([*map(str.strip, addresses), *local])),
        usages=[AS_CLIENT] if role == "cli" else [AS_SERVER, AS_CLIENT],
    )


def _write(made: Pair, cert_file: Path, key_file: Path) -> None:
    write_private(key_file, made.key)
    write_public(cert_file, made.cert)
