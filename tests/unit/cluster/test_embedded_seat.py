"""A server that keeps its cluster's state alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from bellcow.cluster.seat import EmbeddedSeat
from bellcow.model.agent import ClusterIdentity
from bellcow.store.protocol import NO_HEAD


def seat(identity: ClusterIdentity | None) -> EmbeddedSeat:
    head = msgspec.structs.replace(NO_HEAD, epoch=2)
    tables: Any = SimpleNamespace(one=lambda table: identity, head=head)
    return EmbeddedSeat(tables)


def test_it_tells_by_which_recovery_its_cluster_was_founded():
    identity = ClusterIdentity(cluster_id="c", create_time="", region="global", founding="f.2.x")
    cluster = seat(identity).cluster
    assert cluster is not None
    assert (cluster.id, cluster.epoch, cluster.founding) == ("c", 2, "f.2.x")


def test_it_has_no_cluster_before_there_is_an_identity():
    assert seat(None).cluster is None
