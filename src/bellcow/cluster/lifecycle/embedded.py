"""The lifecycle of a server on the embedded store: it is the only voter, and that never changes.

Non-voters may copy its state. It knows the tables and no other server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.errors import refused
from bellcow.model.hello import Cluster
from bellcow.state.tables import CLUSTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.formation.initial_state import AgreedCluster
    from bellcow.model.membership_calls import BootstrapRequest, Done, MemberOrder
    from bellcow.state.tables import Tables


class EmbeddedLifecycle:
    """The `Lifecycle` of a server on the embedded store."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def cluster(self) -> Cluster | None:
        row = self._tables.one(CLUSTER)
        if row is None:
            return None
        return Cluster(row.cluster_id, self._tables.head.epoch, row.founding)

    is_alone = True
    has_member = True
    known_addresses: tuple[tuple[str, int], ...] = ()

    def serves(self) -> Cluster | None:
        return self.cluster

    def agreed_cluster(self) -> AgreedCluster | None:
        return None

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        return {}

    async def run(self) -> None:
        """Return at once: there are no steps."""

    async def promise(self, request: BootstrapRequest) -> Done:
        """Refuse to form another cluster.

        Raises:
            refused: always.
        """
        del request
        raise refused("this server has a cluster of its own")

    async def obey(self, order: MemberOrder) -> Done:
        """Refuse to become a member of another cluster.

        Raises:
            refused: always.
        """
        del order
        raise refused("the embedded store has one voter; others need engine = etcd")

    async def rejoin(self) -> None:
        """Do nothing: the only voter cannot be removed."""
