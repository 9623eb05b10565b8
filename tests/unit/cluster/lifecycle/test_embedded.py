"""The lifecycle of a server on the embedded store."""

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


def test_cluster_names_the_recovery_that_formed_it():
    assert embedded("f.2.x").cluster == Cluster("mine", 4, "f.2.x")


def test_embedded_server_is_in_the_cluster_of_its_own_store():
    lifecycle = embedded()
    assert lifecycle.cluster == lifecycle.serves() == Cluster("mine", 4)
    assert lifecycle.has_member
    assert lifecycle.agreed_cluster() is None


def test_embedded_server_has_no_cluster_before_the_first_commit():
    assert EmbeddedLifecycle(Tables()).cluster is None


def test_embedded_server_refuses_promises_and_orders():
    lifecycle = embedded()
    request = BootstrapRequest(cluster_id="new", proposer="a", members=MEMBERS)
    assert refusal(lifecycle.promise(request)) == "this server has a cluster of its own"
    order = MemberOrder(
        cluster_id="mine", epoch=4, server_id="b", member_id=7, members=MEMBERS, token="mine.4"
    )
    assert "engine = etcd" in refusal(lifecycle.obey(order))


def test_embedded_server_stays_the_voter():
    lifecycle = embedded()
    simulate(lifecycle.run())
    simulate(lifecycle.rejoin())
    assert lifecycle.cluster == Cluster("mine", 4)
