"""`namespace`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bellcow.cli.commands.acl.acl import as_clients_show
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.completers import namespaces
from bellcow.cli.shell.errors import CommandError, RequestError, failing
from bellcow.cli.shell.flags import flag
from bellcow.cli.shell.output import described, formatted, pairs, say, show, to_json
from bellcow.cli.shell.session import Session, as_data, command

_NAMESPACE = one("namespace", namespaces)
_NOT_FOUND = 404


def _path(name: str) -> str:
    return f"/v1/namespace/{quote(name, safe='')}"


@command("Lists the namespaces that the token may see.")
@as_data
def list_namespaces(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error retrieving namespaces: "):
        found = [as_clients_show(one_) for one_ in session.client.get("/v1/namespaces")]
    show(
        found,
        lambda: described(found, "No namespaces found"),
        as_json=as_json,
        template=template,
        go_type="[]*api.Namespace",
    )


@command("Shows a namespace; the beginning of its name is enough.", takes=_NAMESPACE)
def status(session: Session, *, words: tuple[str, ...]) -> None:
    namespace = _by_prefix(session, words[0])
    say(pairs([(key, namespace[key]) for key in ("Name", "Description", "Quota")]))


@command("Shows a namespace as JSON; the beginning of its name is enough.", takes=_NAMESPACE)
@flag("t", "template", "Print through a Go template.", into="template", default="")
def inspect(session: Session, *, template: str, words: tuple[str, ...]) -> None:
    namespace = _by_prefix(session, words[0])
    say(formatted(namespace, as_json=False, template=template) or to_json(namespace))


def _by_prefix(session: Session, prefix: str) -> dict[str, Any]:
    with failing("Error retrieving namespaces: "):
        found = session.client.get("/v1/namespaces", prefix=prefix)
    exact = [namespace for namespace in found if namespace["Name"] == prefix]
    if not found:
        text = f'Namespace "{prefix}" matched no namespaces'
        raise CommandError(f"Error retrieving namespaces: {text}")
    if len(found) > 1 and not exact:
        say(f"Prefix matched multiple namespaces\n\n{described(found)}")
        raise CommandError("")
    return as_clients_show((exact or found)[0])


@command(
    "Creates or changes a namespace; without a flag a field stays unchanged.\n\n"
    "Needs a management token.",
    takes=_NAMESPACE,
)
@flag("description", "text", "What the namespace is for.")
@flag("quota", "name", "Quota that applies to it.")
def apply(
    session: Session, *, description: str | None, quota: str | None, words: tuple[str, ...]
) -> None:
    name = words[0]
    with failing("Error applying namespace: "):
        body = _existing(session, name)
        body |= {} if description is None else {"Description": description}
        body |= {} if quota is None else {"Quota": quota}
        session.client.put(_path(name), body)
    say(f'Successfully applied namespace "{name}"!')


def _existing(session: Session, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = session.client.get(_path(name))
    except RequestError as error:
        if error.status != _NOT_FOUND:
            raise
        return {"Name": name}
    return as_clients_show(found)


@command("Deletes a namespace.\n\nNeeds a management token.", takes=_NAMESPACE)
def delete(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error deleting namespace: "):
        session.client.delete(_path(words[0]))
    say(f'Successfully deleted namespace "{words[0]}"!')
