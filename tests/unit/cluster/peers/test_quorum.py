"""The raft configuration: how clients see it, how a server is found, which removals are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cluster.peers.quorum import check_removal, describe, find_server
from bellcow.errors import Code, Error
from bellcow.model.raft import RaftConfiguration, RaftServer


def server(name: str, *, voter: bool = True) -> RaftServer:
    return RaftServer(id=name, address=f"{name}:4647", name=f"{name}.global", voter=voter)


def configuration(voters: str, others: str = "") -> RaftConfiguration:
    servers = [server(name) for name in voters] + [server(name, voter=False) for name in others]
    return RaftConfiguration(servers=tuple(servers), modify_index=9)


# As clients see it


def test_configuration_is_shown_in_its_order_with_its_index():
    names = {"a": "a.global", "b": "b.global"}
    reply = describe(configuration("ba"), names, "a")
    assert reply.index == 9
    assert [(each.id, each.node, each.leader) for each in reply.servers] == [
        ("b", "b.global", False),
        ("a", "a.global", True),
    ]


def test_server_without_a_member_name_is_shown_as_unknown():
    (shown,) = describe(configuration("a"), {}, "").servers
    assert (shown.node, shown.raft_protocol) == ("(unknown)", "unknown")


def test_non_voter_is_shown_as_one():
    shown = describe(configuration("a", "b"), {"a": "a", "b": "b"}, "a").servers
    assert [each.voter for each in shown] == [True, False]
    assert {each.raft_protocol for each in shown} == {"3"}


# Finding a server


def test_server_is_found_by_id_and_by_address():
    assert find_server(configuration("ab"), by="id", value="b").id == "b"
    assert find_server(configuration("ab"), by="address", value="b:4647").id == "b"


@pytest.mark.parametrize(
    ("by", "value", "text"),
    [
        ("id", "x", 'id "x" was not found in the Raft configuration'),
        ("address", "a", 'address "a" was not found in the Raft configuration'),
        ("id", "", 'id "" was not found in the Raft configuration'),
        ("id", "x" * 300, f'id "{"x" * 200}..." was not found in the Raft configuration'),
        ("id", 'a"\n', 'id "a\\"\\n" was not found in the Raft configuration'),
    ],
)
def test_unknown_server_is_refused_in_the_words_clients_match_on(by, value, text):
    with pytest.raises(Error) as caught:
        find_server(configuration("a"), by=by, value=value)
    assert (caught.value.code, caught.value.message) == (Code.REFUSED, text)


# Removals


def may_go(voters: str, name: str, alive: str, *, others: str = "", force: bool = False) -> bool:
    stored = configuration(voters, others)
    gone = next(each for each in stored.servers if each.id == name)
    try:
        check_removal(stored, gone, set(alive), force=force)
    except Error:
        return False
    return True


@pytest.mark.parametrize(
    ("voters", "name", "alive", "goes"),
    [
        ("abc", "c", "abc", True),
        ("abc", "c", "ab", True),  # dead: the quorum does not need it
        ("abc", "b", "ab", False),  # of a and c one is alive, two are needed
        ("abc", "b", "abc", True),
        ("ab", "b", "ab", True),
        ("ab", "a", "ab", True),
        ("ab", "a", "a", False),
        ("abcde", "e", "abcde", True),
        ("abcde", "a", "abc", False),
        ("abcde", "e", "abc", True),
    ],
)
def test_live_voter_stays_where_its_removal_would_cost_the_quorum(voters, name, alive, goes):
    assert may_go(voters, name, alive) is goes


def test_force_removes_a_voter_that_the_quorum_needs():
    assert may_go("abc", "b", "ab", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_last_voter_is_never_removed(force):
    assert not may_go("a", "a", "a", force=force)
    assert not may_go("a", "a", "ab", others="b", force=force)


def test_refusal_of_the_last_voter_names_the_servers_left():
    stored = configuration("a", "b")
    with pytest.raises(Error) as caught:
        check_removal(stored, stored.servers[0], {"a"}, force=True)
    assert caught.value.message == (
        "Need at least one voter in configuration: {[{Nonvoter b b:4647}]}"
    )


def test_refusal_has_the_numbers_and_the_way_to_force_it():
    stored = configuration("abc")
    with pytest.raises(Error) as caught:
        check_removal(stored, stored.servers[1], {"a", "b"}, force=False)
    assert "of 2 voters left 1 are alive and 2 are needed" in caught.value.message
    assert "force=true" in caught.value.message


def test_non_voter_may_always_be_removed():
    assert may_go("a", "b", "", others="b")
    assert may_go("abc", "d", "a", others="d")


@given(st.integers(1, 7), st.sets(st.sampled_from("abcdefg")), st.sampled_from("abcdefg"))
def test_removal_never_loses_a_quorum(count, alive, name):
    voters = "abcdefg"[:count]
    if name not in voters or not may_go(voters, name, "".join(alive)):
        return
    left = [each for each in voters if each != name]
    had_quorum = len(alive & set(voters)) >= count // 2 + 1
    assert left
    assert not had_quorum or len(alive & set(left)) >= len(left) // 2 + 1
