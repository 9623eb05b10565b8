"""Where a command finds its server: the common flags over `BELLCOW_*` over `NOMAD_*`.

Pure: the environment is an argument. An empty value counts as not given, in a flag and in a
variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bellcow.cli.shell import completers
from bellcow.cli.shell.flags import flag, switch
from bellcow.gocompat.values import parse_bool

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ADDRESS = "http://127.0.0.1:4646"

# Field of Settings, flag, variable without its prefix, what help shows as the value, help.
_TEXTS = (
    (
        "address",
        "address",
        "ADDR",
        "url",
        f"Where the server listens: http://, https:// or unix:// (default {DEFAULT_ADDRESS}).",
    ),
    (
        "region",
        "region",
        "REGION",
        "name",
        "Region to ask; by default the server's own.",
    ),
    ("namespace", "namespace", "NAMESPACE", "name", "Namespace, where one matters; * means all."),
    ("token", "token", "TOKEN", "secret", "Secret of an ACL token."),
    ("ca_cert", "ca-cert", "CACERT", "file", "PEM file with the authority that signed the server."),
    ("ca_path", "ca-path", "CAPATH", "dir", "Directory of such files; -ca-cert comes before it."),
    ("client_cert", "client-cert", "CLIENT_CERT", "file", "PEM file with our certificate."),
    ("client_key", "client-key", "CLIENT_KEY", "file", "PEM file with the key to it."),
    (
        "tls_server_name",
        "tls-server-name",
        "TLS_SERVER_NAME",
        "name",
        "Name that the server's certificate must carry.",
    ),
)
_SWITCHES = (
    ("tls_skip_verify", "tls-skip-verify", "Do not check the server's certificate."),
    ("insecure", "insecure", "The same as -tls-skip-verify."),
    ("no_color", "no-color", "Never color errors."),
    ("force_color", "force-color", "Color errors even without a terminal."),
)
_OFFERED = {"namespace": completers.namespaces}
COMMON = (
    *(
        flag(
            name,
            metavar,
            f"{text} Else BELLCOW_{variable}.",
            into=field,
            offers=_OFFERED.get(field),
        )
        for field, name, variable, metavar, text in _TEXTS
    ),
    *(switch(name, text, into=field) for field, name, text in _SWITCHES),
)
COMMON_NAMES = frozenset({row[1] for row in _TEXTS} | {row[1] for row in _SWITCHES})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where requests go, with which token and which certificate."""

    address: str = DEFAULT_ADDRESS
    region: str = ""
    namespace: str = ""
    token: str = ""
    ca_cert: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    http_auth: str = ""


def variable(environment: Mapping[str, str], name: str) -> str:
    """`BELLCOW_name`, or `NOMAD_name` where that is empty."""
    return environment.get(f"BELLCOW_{name}") or environment.get(f"NOMAD_{name}") or ""


def read_settings(given: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    """Remove the common flags from `given`; flags that are not set come from the environment."""
    texts = {
        field: given.pop(field, None) or variable(environment, name)
        for field, _, name, _, _ in _TEXTS
    }
    switches = {field: bool(given.pop(field, False)) for field, _, _ in _SWITCHES}
    texts["address"] = _with_scheme(texts["address"] or DEFAULT_ADDRESS)
    return Settings(
        **texts,
        tls_skip_verify=switches["tls_skip_verify"] or switches["insecure"] or _skips(environment),
        http_auth=variable(environment, "HTTP_AUTH"),
    )


def _skips(environment: Mapping[str, str]) -> bool:
    try:
        return parse_bool(variable(environment, "SKIP_VERIFY"))
    except ValueError:
        return False


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"http://{address}"
