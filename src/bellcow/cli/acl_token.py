"""`acl token`: who carries which policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bellcow.cli.acl import show_token, without_hash
from bellcow.cli.failure import failing
from bellcow.cli.goflags import BOOL, flag, one, switch
from bellcow.cli.output import formatted, go_bool, listing, say
from bellcow.cli.session import Session, as_data, command

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = "/v1/acl/token"  # noqa: S105  a path, not a secret
_ACCESSOR = one("token_accessor_id")


def _path(accessor: str) -> str:
    return f"{_TOKEN}/{quote(accessor, safe='')}"


def _described(body: Callable[..., None]) -> Callable[..., None]:
    """The flags that say what a token is."""
    body = flag("policy", "name", "Policy that the token carries; may be given again.", many=True)(
        body
    )
    body = flag("type", "client|management", "Kind of token.", into="kind")(body)
    return flag("name", "text", "Name for people to read.")(body)


@command("Creates a token.\n\nNeeds a management token.")
@_described
@switch("global", "Valid in every region.", into="is_global")
@as_data
def create(
    session: Session,
    *,
    name: str | None,
    kind: str | None,
    policy: tuple[str, ...],
    is_global: bool,
    as_json: bool,
    template: str,
) -> None:
    body = {
        "Name": name or "",
        "Type": kind or "client",
        "Policies": list(policy) or None,
        "Global": is_global,
    }
    with failing("Error creating token: "):
        token = session.client.put(_TOKEN, body)
    show_token(token, as_json=as_json, template=template)


@command("Lists the tokens, without their secrets.\n\nNeeds a management token.")
@as_data
def list_tokens(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error listing ACL tokens: "):
        tokens = [without_hash(one_) for one_ in session.client.get("/v1/acl/tokens")]
    shown = formatted(tokens, as_json=as_json, template=template, go_type="[]*api.ACLTokenListStub")
    if shown is None:
        rows = [["Name", "Type", "Global", "Accessor ID"]] + [
            [token["Name"], token["Type"], go_bool(token["Global"]), token["AccessorID"]]
            for token in tokens
        ]
        shown = listing(rows) if tokens else "No tokens found"
    say(shown)


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
    "Changes a token; what is not given stays as it is.\n\nNeeds a management token.",
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


@command("Deletes a token; it stops at once.\n\nNeeds a management token.", takes=_ACCESSOR)
def delete(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error deleting token: "):
        session.client.delete(_path(words[0]))
    say(f"Token {words[0]} successfully deleted")
