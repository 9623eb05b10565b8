"""Which server rebuilds the cluster: case by case, and for every mixture of three servers."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cluster.recovery.peers_json import Listed
from bellcow.cluster.recovery.rules import INDEX_STEP, Join, RebuildHere, Seen, Wait, decide
from bellcow.model.hello import Recovery

FILE = "the same"
NAMES = ("a", "b", "c")
LISTED = tuple(Listed(f"{name}:4647") for name in NAMES)


def seen(name: str, index: int = 10, epoch: int = 1, role: str = "voter", **fields) -> Seen:
    recovery = Recovery(file=FILE, role=role, epoch=epoch, index=index)
    values = {
        "server_id": name,
        "address": f"{name}:4647",
        "recovery": recovery,
        "epoch": epoch,
        "index": index,
    }
    return Seen(**{**values, **fields})


def running(name: str, *, leads: bool, epoch: int = 1, index: int = 10) -> Seen:
    """A server without peers.json, so not in recovery."""
    return seen(name, index, epoch, recovery=None, leads=leads)


def reasons(decision: object) -> str:
    assert isinstance(decision, Wait)
    return "; ".join(decision.reasons)


def decisions(*servers: Seen, listed: tuple[Listed, ...] = LISTED) -> dict[str, object]:
    """What each server decides when it sees all the others."""
    return {
        me.server_id: decide(listed, me, [other for other in servers if other is not me])
        for me in servers
    }


def founders(*servers: Seen, listed: tuple[Listed, ...] = LISTED) -> list[str]:
    found = decisions(*servers, listed=listed)
    return [name for name, decision in found.items() if isinstance(decision, RebuildHere)]


@pytest.mark.parametrize(
    ("servers", "founder"),
    [
        ((seen("a", 10), seen("b", 12), seen("c", 11)), "b"),
        ((seen("a", 99, epoch=1), seen("b", 12, epoch=2), seen("c", 11, epoch=2)), "b"),
        ((seen("a", 10, role="non-voter"), seen("b", 10), seen("c", 9)), "b"),
        ((seen("a", 11, role="non-voter"), seen("b", 10), seen("c", 9)), "a"),
        ((seen("c", 10), seen("b", 10), seen("a", 10)), "a"),
        ((seen("a", 0, 0, "none"), seen("b", 0, 0), seen("c", 0, 0, "none")), "b"),
    ],
    ids=[
        "the highest index",
        "the highest epoch before any index",
        "a voter before a non-voter with an equal copy",
        "a non-voter with a newer copy before a voter",
        "the lowest id of equals",
        "the only server with a copy",
    ],
)
def test_server_with_the_newest_copy_rebuilds(servers: tuple[Seen, ...], founder: str):
    assert founders(*servers) == [founder]


def test_epoch_shown_by_a_lost_server_is_not_reused():
    decision = decide(LISTED[:2], seen("a", 12, epoch_seen=4), [seen("b", 10)])
    assert decision == RebuildHere(epoch=5, index=12 + INDEX_STEP)


def test_listed_non_voter_rebuilds_only_with_a_newer_copy():
    listed = (Listed("a:4647", non_voter=True), Listed("b:4647"))
    assert founders(seen("a"), seen("b"), listed=listed) == ["b"]
    assert founders(seen("a", 11), seen("b"), listed=listed) == ["a"]


def test_new_index_is_far_above_every_index_seen():
    servers = seen("a", 10), seen("b", 9), seen("c", 8, epoch=0)
    dying = running("d", leads=False, epoch=1, index=44)
    assert decide(LISTED, servers[0], [*servers[1:], dying]) == RebuildHere(2, 44 + INDEX_STEP)


def test_recorded_epoch_counts_when_the_copy_is_older():
    me = seen("a", epoch=1)
    me = msgspec.structs.replace(me, epoch=5)
    assert decide(LISTED[:1], me, []) == RebuildHere(6, 10 + INDEX_STEP)


def test_only_listed_server_rebuilds_at_once():
    assert decide(LISTED[:1], seen("a"), []) == RebuildHere(2, 10 + INDEX_STEP)


def test_no_server_rebuilds_before_all_listed_servers_answer():
    two = seen("a"), seen("b")
    said = "no answer from c:4647: start it, or remove it from every peers.json"
    assert {reasons(one) for one in decisions(*two).values()} == {said}


@pytest.mark.parametrize(
    ("third", "said"),
    [
        (running("c", leads=False), "c:4647 has no peers.json"),
        (
            seen("c", recovery=Recovery(file="other", role="voter", epoch=1, index=1)),
            "c:4647 has a peers.json with other servers",
        ),
        (seen("d"), "no answer from c:4647"),
    ],
    ids=["no file", "another file", "a stranger"],
)
def test_no_server_rebuilds_while_a_listed_server_has_another_file(third: Seen, said: str):
    assert said in reasons(decide(LISTED, seen("a"), [seen("b"), third]))


def test_listed_id_must_match_the_server_that_answers():
    listed = (Listed("a:4647", "a"), Listed("b:4647", "gone"))
    assert reasons(decide(listed, seen("a"), [seen("b")])) == (
        "the server at b:4647 is b and not gone"
    )


def test_no_server_rebuilds_while_two_answer_at_one_address():
    twin = seen("x", address="b:4647")
    assert "two servers answer as b:4647" in reasons(
        decide(LISTED, seen("a"), [seen("b"), twin, seen("c")])
    )


def test_no_server_rebuilds_without_any_copy():
    servers = [seen(name, 0, 0, "none") for name in NAMES]
    assert founders(*servers) == []
    assert "restore a snapshot" in reasons(decide(LISTED, servers[0], servers[1:]))


def test_leader_of_a_later_epoch_is_joined():
    assert decide(LISTED, seen("a"), [running("b", leads=True, epoch=2)]) == Join("b")
    assert decide(LISTED, seen("a", 0, 0, "none"), [running("b", leads=True)]) == Join("b")


def test_server_waits_for_a_leader_of_a_later_epoch():
    later = running("b", leads=False, epoch=2)
    said = "b at b:4647 has epoch 2, and no leader yet"
    assert reasons(decide(LISTED, seen("a"), [later, seen("c")])) == said


def test_cluster_with_a_leader_is_not_rebuilt():
    assert "b at b:4647 leads this cluster" in reasons(
        decide(LISTED, seen("a"), [running("b", leads=True), seen("c")])
    )


def test_leader_of_an_earlier_epoch_is_ignored():
    former = running("x", leads=True, epoch=1)
    assert isinstance(decide(LISTED[:1], seen("a", epoch=2), [former]), RebuildHere)


def test_exactly_one_of_any_three_servers_rebuilds():
    one = list(itertools.product((0, 1), (7, 8), ("voter", "non-voter", "none")))
    for mixture in itertools.product(one, repeat=3):
        servers = [
            seen(name, index, epoch, role)
            for name, (epoch, index, role) in zip(NAMES, mixture, strict=True)
        ]
        holders = [(epoch, index) for epoch, index, role in mixture if role != "none"]
        chosen = founders(*servers)
        assert len(chosen) == bool(holders)
        if chosen:
            epoch, index, _ = mixture[NAMES.index(chosen[0])]
            assert (epoch, index) == max(holders)


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.data())
def test_two_halves_never_both_rebuild(half: set, more: set, data):
    """A server rebuilds only if it sees all listed servers."""
    servers = {name: seen(name, data.draw(st.integers(0, 3))) for name in NAMES}
    views = [half | {"a"}, (set(NAMES) - half) | {"b"}, more | {"c"}]
    for me, view in zip(NAMES, views, strict=True):
        others = [servers[name] for name in view if name != me]
        if isinstance(decide(LISTED, servers[me], others), RebuildHere):
            assert view >= set(NAMES)
