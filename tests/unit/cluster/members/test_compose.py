"""The content of a server's hello."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.tables import (
    FOLLOWING,
    empty,
    hello,
    knowing,
    leading,
    record,
    told,
)

from bellcow.cluster.members.compose import compose, with_own_status
from bellcow.cluster.members.failure import judge
from bellcow.model.hello import (
    COUNT_MAX,
    Recovery,
    decode_hello,
    encode_hello,
)


@pytest.mark.parametrize("start", [1, COUNT_MAX])
def test_own_record_with_the_highest_counts_can_still_be_sent(start):
    table = told(empty(), hello(record("b"), record("me", "failed", start=start, seq=COUNT_MAX)))
    word = compose(with_own_status(table, "leaving"), FOLLOWING, 0, abroad=False)
    assert decode_hello(encode_hello(word)) == word
    assert table.me.status == "alive"


def test_hello_to_another_region_holds_no_cluster_and_no_consensus():
    table = judge(knowing(record("a")), leading(4), 0).table
    word = compose(table, leading(4), 0, abroad=True)
    assert (word.cluster, word.raft, word.since_leader_ms) == (None, None, None)
    assert word.leader == "id-me"
    assert [each.server_id for each in word.others] == ["id-a"]


def test_recovery_is_sent_within_the_region_and_read_from_answers():
    recovery = Recovery(file="f", role="voter", epoch=1, index=9)
    table = msgspec.structs.replace(empty(), recovery=recovery)
    assert compose(table, FOLLOWING, 0.0, abroad=False).recovery == recovery
    assert compose(table, FOLLOWING, 0.0, abroad=True).recovery is None
    message = msgspec.structs.replace(hello(record("a")), recovery=recovery)
    assert told(empty(), message, answer=True).contacts["id-a"].recovery == recovery
    later = told(told(empty(), message, answer=True), hello(record("a")), answer=True)
    assert later.contacts["id-a"].recovery is None


def test_hello_carries_the_clocks_of_sender_and_receiver():
    word = compose(empty(), FOLLOWING, 7.5019, abroad=False, echo_ms=12)
    assert (word.at_ms, word.echo_ms) == (7_501, 12)
