"""Holds the current table of members of all regions, and answers queries about them.

The exchange replaces the table; its rules are in `table.py`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import since_leader
from bellcow.cluster.members.table import GONE, Table
from bellcow.model.agent import ALIVE, LEAVING, Member
from bellcow.model.hello import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.cluster.members.table import Contact, Leader
    from bellcow.model.hello import Itself

HELLOS_MAX = 1_000  # of the leader, remembered while memory is behind: 100 s of its beat
ANSWER_S = 1.0  # a server that was silent for longer counts as not answering


class Roster:
    """The current table, and views of it."""

    def __init__(self, itself: Itself, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        me = Record(itself=itself, start_ns=max(0, clock.wall_ns()), status="alive", status_seq=0)
        self._table = Table(me=me)
        self._hellos: deque[tuple[float, int]] = deque()  # of the leader: as_of, index
        self._fresh: float | None = None  # when the leader's index was no higher than ours

    @property
    def table(self) -> Table:
        return self._table

    @table.setter
    def table(self, table: Table) -> None:
        leader = table.leader
        if leader is not None and leader is not self._table.leader:
            self._note(leader)
        self._table = table

    def _note(self, leader: Leader) -> None:
        if leader.as_of is not None and len(self._hellos) < HELLOS_MAX:
            self._hellos.append((leader.as_of, leader.index))

    @property
    def itself(self) -> Itself:
        return self.table.me.itself

    def members(self) -> tuple[Member, ...]:
        """All members. Nomad: a dead one is hidden if a live one has the same name."""
        records = self._records()
        live = {record.itself.member_name for record in records if record.status not in GONE}
        return tuple(
            as_member(record.itself, record.status)
            for record in records
            if record.status not in GONE or record.itself.member_name not in live
        )

    def names(self) -> Mapping[str, str]:
        """Member name by server id, of this region."""
        region = self.itself.region
        return {
            record.server_id: record.itself.member_name
            for record in self._records()
            if record.itself.region == region
        }

    def alive(self) -> frozenset[str]:
        """Ids of the live servers of this region."""
        return self._with_status(ALIVE)

    def leaving(self) -> frozenset[str]:
        """Ids of the servers of this region that are leaving and have not left yet."""
        return self._with_status(LEAVING)

    def _with_status(self, status: str) -> frozenset[str]:
        region = self.itself.region
        return frozenset(
            record.server_id
            for record in self._records()
            if record.status == status and record.itself.region == region
        )

    def regions(self) -> tuple[str, ...]:
        """Regions with at least one live server, sorted."""
        live = {record.itself.region for record in self._records() if record.status == ALIVE}
        return tuple(sorted(live | {self.itself.region}))

    def since_start_s(self) -> float:
        """Seconds since this process began."""
        return self._clock.monotonic() - self._began

    def since_leader_s(self) -> float | None:
        """Seconds since the leader's last hello; 0 on the leader, None without one."""
        return since_leader(self.table, self._clock.monotonic())

    def age_s(self, index: int) -> float | None:
        """Seconds since the leader's index was no higher than `index`, which our memory has.

        None if that is not known. The time of the last hello would be too optimistic: our copy may
        receive nothing while hellos arrive, and a hello may have waited before we read it.
        """
        while self._hellos and self._hellos[0][1] <= index:
            as_of, _ = self._hellos.popleft()
            self._fresh = max(as_of, self._fresh or as_of)
        if self.table.leader is not None and self.table.leader.server_id == self.itself.server_id:
            return 0.0
        return None if self._fresh is None else max(0.0, self._clock.monotonic() - self._fresh)

    def contacts(self) -> Mapping[str, tuple[float, Contact]]:
        """Seconds since the last answer of each other server that answers, and its content."""
        now = self._clock.monotonic()
        return {
            server_id: (max(0.0, now - contact.answered), contact)
            for server_id, contact in self.table.contacts.items()
            if contact.raft is not None and now - contact.answered <= ANSWER_S
        }

    def _records(self) -> list[Record]:
        return [self.table.me, *(known.record for known in self.table.known.values())]


def as_member(itself: Itself, status: str) -> Member:
    """A member list entry. Nomad: every tag is a string, and switches are "1" or absent."""
    tags = {
        "bellcow": itself.version,
        "bootstrap": "1" if itself.bootstrap_expect == 1 else "",
        "build": itself.build,
        "dc": itself.datacenter,
        "expect": str(itself.bootstrap_expect or ""),
        "id": itself.server_id,
        "mvn": "1",
        "nonvoter": "1" if itself.non_voting else "",
        "open_peers": "1" if itself.open_peers else "",
        "port": str(itself.rpc[1]),
        "raft_vsn": itself.raft_protocol,
        "region": itself.region,
        "role": "nomad",
        "rpc_addr": itself.rpc[0],
        "vsn": "1",
        "ap_version": itself.upgrade_version,
        "ap_zone": itself.zone,
    }
    return Member(
        addr=itself.serf[0],
        name=itself.member_name,
        port=itself.serf[1],
        status=status,
        tags={name: value for name, value in tags.items() if value},
    )
