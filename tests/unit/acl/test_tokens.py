"""From a secret to rights, the cache, and addresses that send bad tokens."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.sim.clock import FixedClock

from bellcow.acl import tokens
from bellcow.acl.rights import MANAGEMENT, NOTHING, Need, compile_rights
from bellcow.acl.tokens import BAD_TOKEN_WINDOW_S, TOKEN_NOT_FOUND, BadTokens, Resolver
from bellcow.errors import Code, Error
from bellcow.model.acl import ACLBootstrap, ACLPolicy, ACLToken
from bellcow.state.tables import (
    ACL_BOOTSTRAP,
    ACL_POLICIES,
    ACL_TOKENS,
    ONLY,
    Tables,
    with_indexes,
)
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

READ = 'operator { policy = "read" }'
WRITE = 'operator { policy = "write" }'


class State:
    """Tables that commits of policies and tokens fill."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.resolver = Resolver(self.tables, enabled=True)

    def commit(self, table, row_id, row) -> None:
        index = self.tables.index + 1
        value = None if row is None else to_msgpack(with_indexes(row, index, index))
        self.tables.apply(Head(index=index), {(table.name, row_id): value})

    def policy(self, name: str, rules: str) -> None:
        self.commit(ACL_POLICIES, name, ACLPolicy(name=name, rules=rules))

    def token(self, secret: str, *policies: str) -> None:
        kind = "client" if policies else "management"
        row = ACLToken(accessor_id=secret, secret_id=secret, type=kind, policies=policies or None)
        self.commit(ACL_TOKENS, secret, row)

    def allows(self, secret: str, need: Need) -> bool:
        return self.resolver.resolve(secret).allows(need)


@pytest.fixture
def state():
    return State()


def test_without_acls_everybody_may_do_everything():
    resolver = Resolver(Tables(), enabled=False)
    assert resolver.resolve("whatever") is MANAGEMENT


def bootstrapped() -> Tables:
    tables = Tables()
    row = ACLBootstrap(accessor_id="root", reset_index=5, create_index=5, modify_index=5)
    tables.apply(Head(index=5), {(ACL_BOOTSTRAP.name, ONLY): to_msgpack(row)})
    return tables


def test_bootstrapped_cluster_requires_tokens_whatever_the_file_says():
    resolver = Resolver(bootstrapped(), enabled=False)
    assert resolver.enabled
    assert resolver.resolve("") is NOTHING
    with pytest.raises(Error, match=TOKEN_NOT_FOUND):
        resolver.resolve("whatever")


def test_no_request_passes_before_the_state_is_loaded():
    known = False
    resolver = Resolver(Tables(), enabled=False, is_known=lambda: known)
    assert resolver.resolve("") is NOTHING
    known = True
    assert resolver.resolve("") is MANAGEMENT


def test_management_token_may_do_everything(state):
    state.token("root")
    assert state.resolver.resolve("root") is MANAGEMENT


@pytest.mark.parametrize("secret", ["x", "roo", "root ", "ROOT", "\ud800"])
def test_unknown_secret_is_refused(state, secret):
    state.token("root")
    with pytest.raises(Error) as caught:
        state.resolver.resolve(secret)
    assert (caught.value.code, caught.value.message) == (Code.DENIED, "ACL token not found")


def test_request_without_token_has_no_rights_without_an_anonymous_policy(state):
    assert not state.allows("", Need.OPERATOR_READ)


def test_request_without_token_has_the_rights_of_the_anonymous_policy(state):
    state.policy("anonymous", READ)
    assert state.allows("", Need.OPERATOR_READ)
    assert not state.allows("", Need.OPERATOR_WRITE)


def test_client_token_has_the_sum_of_its_policies(state):
    state.policy("reader", READ)
    state.policy("writer", WRITE)
    state.token("one", "reader")
    state.token("both", "reader", "writer")
    assert not state.allows("one", Need.OPERATOR_WRITE)
    assert state.allows("both", Need.OPERATOR_WRITE)


def test_policies_that_do_not_exist_give_nothing(state):
    state.token("t", "missing")
    assert not state.allows("t", Need.OPERATOR_READ)


def test_change_of_a_policy_counts_at_once(state):
    state.policy("p", READ)
    state.token("t", "p")
    assert not state.allows("t", Need.OPERATOR_WRITE)
    state.policy("p", WRITE)
    assert state.allows("t", Need.OPERATOR_WRITE)
    state.commit(ACL_POLICIES, "p", None)
    state.policy("other", READ)
    assert not state.allows("t", Need.OPERATOR_READ)


def test_deleted_token_is_refused_at_once(state):
    state.token("t")
    assert state.allows("t", Need.OPERATOR_WRITE)
    state.commit(ACL_TOKENS, "t", None)
    state.token("other")
    with pytest.raises(Error, match="ACL token not found"):
        state.resolver.resolve("t")


def test_change_of_rights_counts_though_a_row_has_an_index_above_all(state):
    far = ACLPolicy(name="far", rules=READ, create_index=1 << 40, modify_index=1 << 40)
    state.tables.apply(Head(index=1), {(ACL_POLICIES.name, "far"): to_msgpack(far)})
    state.token("t", "far")
    assert state.allows("t", Need.OPERATOR_READ)
    state.policy("far", WRITE)
    assert state.allows("t", Need.OPERATOR_WRITE)
    state.commit(ACL_TOKENS, "t", None)
    with pytest.raises(Error, match="ACL token not found"):
        state.resolver.resolve("t")


def test_rights_are_compiled_once_while_nothing_changes(state):
    state.policy("p", READ)
    state.token("t", "p")
    assert state.resolver.resolve("t") is state.resolver.resolve("t")


def test_cache_is_bounded(state, monkeypatch):
    monkeypatch.setattr(tokens, "CACHE_LIMIT", 3)
    for number in range(10):
        state.token(f"t{number}")
    for number in range(10):
        state.allows(f"t{number}", Need.OPERATOR_READ)
    assert len(state.resolver._cache) <= 5


def test_token_is_found_by_its_secret(state):
    state.token("t")
    found = state.resolver.token("t")
    assert found is not None
    assert found.accessor_id == "t"
    assert state.resolver.token("u") is None


# Addresses that send bad tokens


def refused(bad: BadTokens, client: str) -> bool:
    try:
        bad.check(client)
    except Error as error:
        return error.code is Code.TOO_MANY
    return False


def test_address_is_refused_after_so_many_unknown_tokens():
    bad = BadTokens(FixedClock(), 3)
    assert [refused(bad, "x") for _ in range(5)] == [False, False, False, True, True]
    assert not refused(bad, "y")


def test_address_is_heard_again_after_the_window():
    clock = FixedClock()
    bad = BadTokens(clock, 1)
    assert [refused(bad, "x") for _ in range(2)] == [False, True]
    clock.advance(BAD_TOKEN_WINDOW_S)
    assert not refused(bad, "x")


def test_limit_of_zero_is_none():
    bad = BadTokens(FixedClock(), 0)
    assert not any(refused(bad, "x") for _ in range(1_000))


def test_number_of_remembered_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(tokens, "BAD_TOKEN_ADDRESSES", 10)
    bad = BadTokens(FixedClock(), 3)
    for number in range(100):
        bad.check(f"10.0.0.{number}")
    assert len(bad._seen) == 10


def test_guessed_tokens_are_reported_with_count_and_main_address():
    said = []
    bad = BadTokens(FixedClock(), 0)

    def report(event: str, /, **fields: object) -> None:
        said.append((event, fields))

    bad.report(report)
    assert said == []
    for client, times in (("x", 3), ("y", 1)):
        for _ in range(times):
            bad.check(client)
    bad.report(report)
    bad.report(report)
    told = {"count": 4, "addresses": 2, "most_from": "x", "most": 3}
    assert said == [("unknown_tokens", told)]


def test_guesses_from_more_addresses_than_are_remembered_are_counted_all_the_same(monkeypatch):
    monkeypatch.setattr(tokens, "BAD_TOKEN_ADDRESSES", 10)
    said = []
    bad = BadTokens(FixedClock(), 3)
    for number in range(100):
        bad.check(f"10.0.0.{number}")
    bad.report(lambda event, **fields: said.append(fields))
    assert (said[0]["count"], said[0]["addresses"]) == (100, 10)


def test_guessed_tokens_are_reported_when_the_server_stops():
    said = []

    async def life() -> None:
        bad = BadTokens(FixedClock(), 3)
        task = asyncio.create_task(bad.run(lambda event, **fields: said.append(event)))
        await asyncio.sleep(0)
        bad.check("x")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(life())
    assert said == ["unknown_tokens"]


def test_restored_policy_of_the_same_name_and_index_is_parsed_again():
    tables = Tables()
    resolver = Resolver(tables, enabled=True)
    first = ACLPolicy(name="p", rules='agent { policy = "write" }', create_index=7, modify_index=7)
    other = ACLPolicy(name="p", rules='agent { policy = "deny" }', create_index=7, modify_index=7)
    assert resolver.rules_of(first).agent.policy == "write"
    assert resolver.rules_of(other).agent.policy == "deny"


def test_a_stored_policy_that_cannot_be_read_denies_everything():
    resolver = Resolver(Tables(), enabled=True)
    rights = compile_rights(
        [
            resolver.rules_of(ACLPolicy(name="good", rules='operator { policy = "write" }')),
            resolver.rules_of(ACLPolicy(name="bad", rules="newer { syntax }")),
        ]
    )
    assert rights.needs == NOTHING.needs
    assert not rights.any_namespace_right("default")
