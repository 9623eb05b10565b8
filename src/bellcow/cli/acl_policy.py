"""`acl policy`: named sets of rights."""

from __future__ import annotations

from urllib.parse import quote

from bellcow.cli.acl import without_hash
from bellcow.cli.failure import failing
from bellcow.cli.files import read_input
from bellcow.cli.goflags import Takes, flag, one
from bellcow.cli.output import formatted, listing, pairs, say
from bellcow.cli.session import Session, as_data, command

_POLICIES = "/v1/acl/policies"


def _path(name: str) -> str:
    return f"/v1/acl/policy/{quote(name, safe='')}"


@command(
    "Writes a policy from a file, or from standard input for -.\n\nNeeds a management token.",
    takes=Takes(2, 2, "This command takes two arguments: <name> and <path>", "<name> <path>"),
)
@flag("description", "text", "What the policy is for.", default="")
def apply(session: Session, *, description: str, words: tuple[str, ...]) -> None:
    name, path = words
    rules = read_input(path)
    body = {"Name": name, "Description": description, "Rules": rules}
    with failing("Error writing ACL policy: "):
        session.client.put(_path(name), body)
    say(f'Successfully wrote "{name}" ACL policy!')


@command("Lists the policies: all for a management token, for others those of the token.")
@as_data
def list_policies(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error listing ACL policies: "):
        policies = [without_hash(one) for one in session.client.get(_POLICIES)]
    shown = formatted(
        policies, as_json=as_json, template=template, go_type="[]*api.ACLPolicyListStub"
    )
    if shown is None:
        rows = [["Name", "Description"]] + [[one["Name"], one["Description"]] for one in policies]
        shown = listing(rows) if policies else "No policies found"
    say(shown)


@command("Shows a policy with its rules.", takes=one("name"))
def info(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error fetching info on ACL policy: "):
        policy = session.client.get(_path(words[0]))
    keys = ("Name", "Description", "Rules", "CreateIndex", "ModifyIndex")
    say(pairs([(key, policy[key]) for key in keys]))


@command("Deletes a policy; tokens that carry it lose its rights.", takes=one("name"))
def delete(session: Session, *, words: tuple[str, ...]) -> None:
    with failing("Error deleting ACL policy: "):
        session.client.delete(_path(words[0]))
    say(f"Successfully deleted {words[0]} policy!")
