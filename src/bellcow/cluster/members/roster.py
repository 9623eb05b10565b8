"""All members known here, of all regions: holds the table that the rules in `table.py` make.

It answers what others ask about servers. How the table comes to change is the exchange's business.
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

WORDS_MAX = 1_000  # as many of the leader's hellos are remembered while memory is behind
ANSWER_S = 1.0  # a server that was silent for longer does not answer


class Roster:
    """The present table, and views of it."""

    def __init__(self, itself: Itself, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        me = Record(itself=itself, start_ns=max(0, clock.wall_ns()), status="alive", status_seq=0)
        self._table = Table(me=me)
        self._words: deque[tuple[float, int]] = deque()  # of the leader: as of when, and its index
        self._fresh: float | None = None  # when the leader had no more than our memory has

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
        if leader.as_of is not None and len(self._words) < WORDS_MAX:
            self._words.append((leader.as_of, leader.index))

    @property
    def itself(self) -> Itself:
        return self.table.me.itself

    def members(self) -> tuple[Member, ...]:
        """Nomad: members have one name each; a dead one is not shown beside a live namesake."""
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
        """Ids of the servers of this region that answer."""
        return self._with_status(ALIVE)

    def leaving(self) -> frozenset[str]:
        """Ids of those that say they are about to leave, and have not yet."""
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
        """Seconds since the leader last spoke to us; 0 for the leader, None when there is none."""
        return since_leader(self.table, self._clock.monotonic())

    def age_s(self, index: int) -> float | None:
        """Seconds since the leader had no more than memory that stands at `index` has.

        None when that is not known. That the leader speaks says nothing of a memory whose own
        source stands still, nor does a word that has waited for us to read it.
        """
        while self._words and self._words[0][1] <= index:
            as_of, _ = self._words.popleft()
            self._fresh = max(as_of, self._fresh or as_of)
        if self.table.leader is not None and self.table.leader.server_id == self.itself.server_id:
            return 0.0
        return None if self._fresh is None else max(0.0, self._clock.monotonic() - self._fresh)

    def contacts(self) -> Mapping[str, tuple[float, Contact]]:
        """The other servers that answer: seconds since their last answer, and what it said."""
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
