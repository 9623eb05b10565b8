"""Commands on policies and tokens."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.acl.commands import (
    bootstrap,
    create_token,
    delete_policy,
    delete_token,
    put_policy,
    update_token,
)
from bellcow.acl.hashing import token_hash
from bellcow.errors import Code, Error
from bellcow.model.acl import ACLPolicy, ACLToken
from bellcow.state.draft import Draft
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS, DELETIONS, Tables

CLIENT = ACLToken(
    accessor_id="a",
    secret_id="s",
    name="one",
    type="client",
    policies=("p",),
    create_time="2027-01-15T08:00:00Z",
)
ROOT = ACLToken(accessor_id="root", secret_id="r", type="management")


@pytest.fixture
def draft():
    return Draft(Tables())


def run(draft, command):
    outcome = draft.run(command)
    draft.keep()
    return outcome


def refusal(draft, command):
    before = draft.last_index
    with pytest.raises(Error) as caught:
        run(draft, command)
    assert draft.last_index == before
    return caught.value.code, caught.value.message


# Policies


def test_policy_is_stored_and_deleted(draft):
    assert run(draft, put_policy(ACLPolicy(name="p", rules="x"))).index == 1
    assert draft.get(ACL_POLICIES, "p").rules == "x"
    assert run(draft, delete_policy("p")).index == 2
    assert draft.get(ACL_POLICIES, "p") is None


def test_unknown_policy_is_deleted_with_success(draft):
    assert run(draft, delete_policy("p")).index == 1
    assert draft.get(DELETIONS, "acl_policies").modify_index == 1


# Tokens


def test_token_is_stored_with_its_hash(draft):
    stored = run(draft, create_token(CLIENT))
    assert stored.hash == token_hash(CLIENT)
    assert (stored.create_index, stored.modify_index) == (1, 1)
    assert draft.get(ACL_TOKENS, "a") == stored


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"secret_id": "t"}, "a token with accessor a exists"),
        ({"accessor_id": "b"}, "a token with that secret exists"),
        ({"accessor_id": "b", "secret_id": "t", "policies": ()}, "client token missing policies"),
        ({"accessor_id": "b", "secret_id": "t", "type": "x"}, "type must be client or management"),
    ],
)
def test_duplicate_or_wrong_token_is_refused(draft, changes, text):
    run(draft, create_token(CLIENT))
    code, message = refusal(draft, create_token(msgspec.structs.replace(CLIENT, **changes)))
    assert code is Code.INVALID
    assert text in message


def test_token_keeps_its_secret_and_time_when_it_is_changed(draft):
    run(draft, create_token(CLIENT))
    changed = ACLToken(accessor_id="a", name="two", type="management", secret_id="other")
    stored = run(draft, update_token(changed))
    assert (stored.secret_id, stored.create_time) == ("s", CLIENT.create_time)
    assert (stored.name, stored.type, stored.create_index, stored.modify_index) == (
        "two",
        "management",
        1,
        2,
    )
    assert stored.hash == token_hash(stored)


def test_missing_token_cannot_be_changed(draft):
    assert refusal(draft, update_token(CLIENT)) == (Code.NOT_FOUND, "cannot find token a")


def test_token_does_not_become_global_nor_local(draft):
    run(draft, create_token(CLIENT))
    command = update_token(msgspec.structs.replace(CLIENT, global_=True))
    assert refusal(draft, command) == (Code.INVALID, "cannot toggle global mode of a")


def test_token_is_deleted_once(draft):
    run(draft, create_token(CLIENT))
    assert run(draft, delete_token("a")).index == 2
    assert refusal(draft, delete_token("a")) == (
        Code.INVALID,
        "Cannot delete nonexistent tokens: a",
    )


# Bootstrap


def test_first_token_is_made_once(draft):
    stored = run(draft, bootstrap(ROOT, None))
    assert stored.hash == token_hash(ROOT)
    assert draft.one(ACL_BOOTSTRAP).reset_index == 1
    again = msgspec.structs.replace(ROOT, accessor_id="r2", secret_id="r2")
    assert refusal(draft, bootstrap(again, None)) == (
        Code.INVALID,
        "ACL bootstrap already done (reset index: 1)",
    )


def test_bootstrap_is_repeated_with_its_reset_index_alone(draft):
    run(draft, bootstrap(ROOT, None))
    run(draft, put_policy(ACLPolicy(name="p")))
    again = msgspec.structs.replace(ROOT, accessor_id="r2", secret_id="r2")
    assert refusal(draft, bootstrap(again, 7)) == (
        Code.INVALID,
        "Invalid bootstrap reset index (specified 7, reset index: 1)",
    )
    run(draft, bootstrap(again, 1))
    assert draft.one(ACL_BOOTSTRAP).reset_index == 3
    assert {"root", "r2"} == set(draft.ids(ACL_TOKENS))
    third = msgspec.structs.replace(ROOT, accessor_id="r3", secret_id="r3")
    assert refusal(draft, bootstrap(third, 1))[0] is Code.INVALID


def test_bootstrap_with_a_duplicate_secret_is_refused(draft):
    run(draft, create_token(CLIENT))
    taken = msgspec.structs.replace(ROOT, secret_id="s")
    assert refusal(draft, bootstrap(taken, None)) == (
        Code.INVALID,
        "a token with that secret exists",
    )
