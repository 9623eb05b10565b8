"""`acl policy`: named sets of rights."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bellcow.cli.commands.acl.acl import as_clients_show
from bellcow.cli.shell import completers
from bellcow.cli.shell.arguments import Takes, one
from bellcow.cli.shell.errors import failing
from bellcow.cli.shell.files import read_input
from bellcow.cli.shell.flags import flag
from bellcow.cli.shell.output import Lines, described, note, pairs, say, show
from bellcow.cli.shell.session import Session, as_data, command

_POLICIES = "/v1/acl/policies"
_EVERYTHING = "A management token is in use: it may do everything and has no policies"
NAME = one("name", completers.policies)


def _path(name: str) -> str:
    return f"/v1/acl/policy/{quote(name, safe='')}"


@command(
    "Writes a policy from a file, or from standard input for -.\n\n"
    "Prints unknown blocks, such as misspelled ones. Needs a management token.",
    takes=Takes(
        2,
        2,
        "This command takes two arguments: <name> and <path>",
        "<name> <path>",
        completers.policies,
    ),
)
@flag("description", "text", "What the policy is for.", default="")
def apply(session: Session, *, description: str, words: tuple[str, ...]) -> None:
    name, path = words
    rules = read_input(path)
    body = {"Name": name, "Description": description, "Rules": rules}
    with failing("Error writing ACL policy: "):
        session.client.put(_path(name), body)
    say(f'Successfully wrote "{name}" ACL policy!')
    _name_the_unknown(rules)


def _name_the_unknown(rules: str) -> None:
    import difflib

    from bellcow.acl.policy import BLOCKS, unknown_blocks

    for block in unknown_blocks(rules):
        near = difflib.get_close_matches(block.lower(), BLOCKS, n=1)
        more = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(BLOCKS)}"
        note(f"The block {block} gives no right{more}")


@command("Lists the policies: all for a management token, for others those of the token.")
@as_data
def list_policies(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error listing ACL policies: "):
        policies = [as_clients_show(one) for one in session.client.get(_POLICIES)]
    _show(policies, "No policies found", as_json=as_json, template=template)


@command(
    "Lists the policies of the token in use: what it may do.\n\n"
    "A management token may do everything and has none."
)
@as_data
def self_(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error fetching own policies: "):
        token = session.client.get("/v1/acl/token/self")
        management = token["Type"] == "management"
        known = {one["Name"]: as_clients_show(one) for one in session.client.get(_POLICIES)}
    names = [] if management else token["Policies"] or []
    own = [known[name] for name in names if name in known]
    nothing = _EVERYTHING if management else "No policies found"
    _show(own, nothing, as_json=as_json, template=template)
    for name in names:
        if name not in known:
            note(f"The token names a policy {name} too, which does not exist")


def _show(policies: list[dict[str, Any]], nothing: str, *, as_json: bool, template: str) -> None:
    show(
        policies,
        lambda: described(policies, nothing),
        as_json=as_json,
        template=template,
        go_type="[]*api.ACLPolicyListStub",
    )


@command(
    "Shows a policy with its rules; as JSON also RulesJSON, the parsed rules.",
    takes=NAME,
)
@as_data
def info(session: Session, *, as_json: bool, template: str, words: tuple[str, ...]) -> None:
    with failing("Error fetching info on ACL policy: "):
        policy = as_clients_show(session.client.get(_path(words[0])))
    keys = ("Name", "Description", "Rules", "CreateIndex", "ModifyIndex")
    show(
        policy,
        lambda: pairs(
            [(key, policy[key] if key != "Rules" else Lines(policy[key])) for key in keys]
        ),
        as_json=as_json,
        template=template,
        go_type="*api.ACLPolicy",
    )


@command("Deletes a policy; tokens that carry it lose its rights.", takes=NAME)
def delete(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error deleting ACL policy: "):
        session.client.delete(_path(words[0]))
    say(f"Successfully deleted {words[0]} policy!")
