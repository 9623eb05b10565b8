"""A server that keeps its cluster's state alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.loop import simulate

from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.errors import Code, Error
from bellcow.model.agent import ClusterIdentity
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import BootstrapRequest, MemberOrder
from bellcow.state.tables import CLUSTER, ONLY, Tables
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Coroutine

MEMBERS = (("a", "a:4647"), ("b", "b:4647"), ("c", "c:4647"))


def embedded(founding: str = "") -> EmbeddedLifecycle:
    tables = Tables()
    row = ClusterIdentity(
        cluster_id="mine", create_time="2027-01-15T08:00:00Z", region="global", founding=founding
    )
    tables.apply(Head(index=1, epoch=4), {(CLUSTER.name, ONLY): to_msgpack(row)})
    return EmbeddedLifecycle(tables)


def refusal(call: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(Error) as caught:
        simulate(call)
    assert caught.value.code is Code.REFUSED
    return caught.value.message


def test_it_tells_by_which_recovery_its_cluster_was_founded():
    assert embedded("f.2.x").cluster == Cluster("mine", 4, "f.2.x")


def test_it_is_in_the_cluster_that_it_keeps_itself():
    lifecycle = embedded()
    assert lifecycle.cluster == lifecycle.serves() == Cluster("mine", 4)
    assert lifecycle.has_member
    assert lifecycle.charter() is None


def test_it_has_no_cluster_before_there_is_an_identity():
    assert EmbeddedLifecycle(Tables()).cluster is None


def test_it_founds_and_obeys_nothing():
    lifecycle = embedded()
    request = BootstrapRequest(cluster_id="new", proposer="a", members=MEMBERS)
    assert refusal(lifecycle.promise(request)) == "this server has a cluster of its own"
    order = MemberOrder(
        cluster_id="mine", epoch=4, server_id="b", member_id=7, members=MEMBERS, token="mine.4"
    )
    assert "engine = etcd" in refusal(lifecycle.obey(order))


def test_its_part_never_changes():
    lifecycle = embedded()
    simulate(lifecycle.run())
    simulate(lifecycle.rejoin())
    assert lifecycle.cluster == Cluster("mine", 4)
