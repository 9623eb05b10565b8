"""`acl bootstrap`, and the display of a token in every command."""

from __future__ import annotations

from typing import Any

from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import failing
from bellcow.cli.shell.files import read_input
from bellcow.cli.shell.output import go_bool, go_list, go_time, pairs, show
from bellcow.cli.shell.session import Session, as_data, command

LATER_KEYS = frozenset({"Capabilities", "ExpirationTTL", "ExpirationTime", "Meta", "Roles"})


def as_clients_show(value: dict[str, Any]) -> dict[str, Any]:
    """Nomad: its client's structures have no Hash, so `-json` and `-t` do not show it.

    Those of 1.0 lack the keys of later releases too; these are shown unless empty.
    """
    return {
        key: one for key, one in value.items() if key != "Hash" and (one or key not in LATER_KEYS)
    }


def show_token(token: dict[str, Any], *, as_json: bool = False, template: str = "") -> None:
    """Print one token."""
    show(
        as_clients_show(token),
        lambda: _block(token),
        as_json=as_json,
        template=template,
        go_type="*api.ACLToken",
    )


def _block(token: dict[str, Any]) -> str:
    policies = "n/a" if token["Type"] == "management" else go_list(token["Policies"])
    return pairs(
        [
            ("Accessor ID", token["AccessorID"]),
            ("Secret ID", token["SecretID"]),
            ("Name", token["Name"]),
            ("Type", token["Type"]),
            ("Global", go_bool(token["Global"])),
            ("Policies", policies),
            ("Create Time", go_time(token["CreateTime"])),
            ("Create Index", token["CreateIndex"]),
            ("Modify Index", token["ModifyIndex"]),
        ]
    )


@command(
    "Makes the first management token of a cluster, once.\n\n"
    "FILE, or - for standard input, holds a secret of your own: a UUID. Without it the cluster "
    "makes one.",
    takes=Takes(0, 1, "This command takes up to one argument", "[<file>|-]"),
)
@as_data
def bootstrap(session: Session, *, as_json: bool, template: str, words: tuple[str, ...]) -> None:
    body = {"BootstrapSecret": read_input(words[0]).strip()} if words else None
    with failing("Error bootstrapping: "):
        token = session.client.put("/v1/acl/bootstrap", body)
    show_token(token, as_json=as_json, template=template)
