"""`acl token`: tokens and their policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bellcow.cli.commands.acl.acl import as_clients_show, show_token
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.completers import accessors, policies
from bellcow.cli.shell.errors import CommandError, RequestError, failing
from bellcow.cli.shell.flags import BOOL, flag, switch
from bellcow.cli.shell.output import go_bool, listing, note, say, show
from bellcow.cli.shell.session import Session, as_data, command
from bellcow.clock import SystemClock, new_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.cli.shell.client import Client

_TOKEN = "/v1/acl/token"  # noqa: S105  a path, not a secret
_NOT_FOUND = 404
_ACCESSOR = one("token_accessor_id", accessors)


def _path(accessor: str) -> str:
    return f"{_TOKEN}/{quote(accessor, safe='')}"


def _described(body: Callable[..., None]) -> Callable[..., None]:
    """The flags of a token's fields."""
    text = "Policy that the token carries; may be given again."
    body = flag("policy", "name", text, many=True, offers=policies)(body)
    body = flag("type", "client|management", "Kind of token.", into="kind")(body)
    return flag("name", "text", "Name for people to read.")(body)


@command(
    "Creates a token.\n\n"
    "Without -accessor the cluster makes an accessor ID. Needs a management token."
)
@_described
@switch("global", "Valid in every region.", into="is_global")
@flag("accessor", "uuid", "Accessor ID for the token, to recreate a deleted one.", default="")
@as_data
def create(
    session: Session,
    *,
    name: str | None,
    kind: str | None,
    policy: tuple[str, ...],
    is_global: bool,
    accessor: str,
    as_json: bool,
    template: str,
) -> None:
    body: dict[str, Any] = {
        "Name": name or "",
        "Type": kind or "client",
        "Policies": list(policy) or None,
        "Global": is_global,
    }
    prefix = "Error creating token: "
    with failing(prefix):
        if accessor:
            accessor = accessor.lower()
            _refuse_known(session.client, accessor, prefix)
            # The server takes an accessor without a secret for an update of an existing token.
            body |= {"AccessorID": accessor, "SecretID": new_uuid(SystemClock())}
        token = session.client.put(_TOKEN, body)
    show_token(token, as_json=as_json, template=template)
    _note_missing_policies(session.client, policy)


def _refuse_known(client: Client, accessor: str, prefix: str) -> None:
    try:
        client.get(_path(accessor))
    except RequestError as error:
        if error.status == _NOT_FOUND:
            return
        raise
    raise CommandError(f"{prefix}there is a token {accessor}; 'acl token update' changes it")


@command("Lists the tokens, without their secrets.\n\nNeeds a management token.")
@as_data
def list_tokens(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error listing ACL tokens: "):
        tokens = [as_clients_show(one_) for one_ in session.client.get("/v1/acl/tokens")]
    show(
        tokens,
        lambda: _table(tokens),
        as_json=as_json,
        template=template,
        go_type="[]*api.ACLTokenListStub",
    )


def _table(tokens: list[dict[str, Any]]) -> str:
    if not tokens:
        return "No tokens found"
    rows = [
        [token["Name"], token["Type"], go_bool(token["Global"]), token["AccessorID"]]
        for token in tokens
    ]
    return listing([["Name", "Type", "Global", "Accessor ID"], *rows])


@command("Shows a token with its secret.", takes=_ACCESSOR)
@as_data
def info(session: Session, *, as_json: bool, template: str, words: tuple[str, ...]) -> None:
    with failing("Error fetching token: "):
        token = session.client.get(_path(words[0]))
    show_token(token, as_json=as_json, template=template)


@command("Shows the token that is in use.")
@as_data
def self_(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error fetching self token: "):
        token = session.client.get(f"{_TOKEN}/self")
    show_token(token, as_json=as_json, template=template)


@command(
    "Changes a token; without a flag a field stays unchanged.\n\nNeeds a management token.",
    takes=_ACCESSOR,
)
@_described
@flag("global", "true|false", "Valid in every region.", kind=BOOL, into="is_global")
@as_data
def update(
    session: Session,
    *,
    name: str | None,
    kind: str | None,
    policy: tuple[str, ...],
    is_global: bool | None,
    as_json: bool,
    template: str,
    words: tuple[str, ...],
) -> None:
    given: dict[str, Any] = {
        "Name": name,
        "Type": kind,
        "Policies": list(policy) or None,
        "Global": is_global,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    with failing("Error updating token: "):
        token = session.client.get(_path(words[0]))
        token = session.client.put(_path(words[0]), {**token, **changes})
    show_token(token, as_json=as_json, template=template)
    _note_missing_policies(session.client, policy)


def _note_missing_policies(client: Client, given: tuple[str, ...]) -> None:
    """Print a remark about policies that do not exist: they are allowed, but may be a mistake."""
    if not given:
        return
    try:
        known = {one_["Name"] for one_ in client.get("/v1/acl/policies")}
    except RequestError:
        return  # without the list there is no remark
    for name in dict.fromkeys(given):
        if name not in known:
            note(f"There is no policy {name}: until there is one, the token gets nothing from it")


@command("Deletes a token; it is invalid at once.\n\nNeeds a management token.", takes=_ACCESSOR)
def delete(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error deleting token: "):
        session.client.delete(_path(words[0]))
    say(f"Token {words[0]} successfully deleted")
