"""What the rest of a server uses of its lifecycle, on the embedded store and on etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.formation.initial_state import AgreedCluster
    from bellcow.model.hello import Cluster
    from bellcow.model.membership_calls import BootstrapRequest, Done, MemberOrder


class Lifecycle(Protocol):
    """What the rest of the server uses of it."""

    @property
    def cluster(self) -> Cluster | None: ...

    @property
    def is_alone(self) -> bool:
        """Whether no other server can vote: the state is on this disk and this server leads."""

    @property
    def known_addresses(self) -> tuple[tuple[str, int], ...]:
        """Last known addresses of the cluster's servers, of the port between servers."""

    @property
    def has_member(self) -> bool:
        """Whether a member of this server takes part in the consensus."""

    def serves(self) -> Cluster | None:
        """The cluster whose store this server's own member holds; None on a non-voter."""

    def agreed_cluster(self) -> AgreedCluster | None:
        """What the first leader writes into a cluster that it formed with others."""

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        """What kept this server out of a cluster lately: events of the log, with their fields."""

    async def run(self) -> None: ...

    async def promise(self, request: BootstrapRequest) -> Done:
        """Promise to form this cluster with these servers.

        Raises:
            refused: this server may not promise it.
        """

    async def obey(self, order: MemberOrder) -> Done:
        """Start a member that the leader has added to the consensus.

        Raises:
            refused: the order is not for this server, or not for its cluster.
        """

    async def rejoin(self) -> None:
        """Ask for admission again if this server was removed."""
