"""Histories of a cluster that does not exist: correct ones from a seed, and wrong ones on request.

A toy store with one index serves clients whose calls, effects and answers interleave. `Plant` names
the ways in which it can be made to break its promises.
"""

from __future__ import annotations

import enum
import heapq
import random
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import msgspec
from tests.cluster.chaos.history import (
    AUTOPILOT,
    EVERYTHING,
    NAMESPACES,
    SCHEDULER,
    Operation,
    Row,
    is_namespace,
    namespace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = ("one", "two", "three")
NAMES = tuple(namespace(f"n{number}") for number in range(6))
PLANTS = 8  # how often a fault is planted; once could go unseen by everybody
GIVES_UP_S = 1.0


class Plant(enum.Enum):
    """A way to break a promise."""

    STALE_READ = "a default read shows what was replaced before it was called"
    LOST_UPDATE = "a write is acknowledged and not done"
    LATE_EFFECT = "a write that was answered as not done is done later"
    SECOND_EFFECT = "a write is done twice"
    INDEX_REUSE = "two writes get one index"
    INDEX_BACK = "a write gets an index below one answered before"
    DUPLICATE_COMPARE = "two compare-and-sets with the same index are done"
    WRONG_REFUSAL = "a compare-and-set that matches is refused"
    RESURRECTED_DELETE = "a deleted namespace is back"
    LOST_NAMESPACE = "an acknowledged namespace is gone"
    TORN_LIST = "a list lacks a row that it must show"
    TORN_RESTORE = "a restore leaves a row as it was"
    MEMORY_BACK = "the memory of a running server gets older"
    SPLIT_BRAIN = "two servers lead, each with writes of its own"
    FROM_NOWHERE = "a value is there that nobody wrote"


class Toy:
    """All versions of all keys, and the index. Every change is one index."""

    def __init__(self) -> None:
        self.index = 0
        self.versions: dict[str, list[tuple[int, Row | None]]] = {
            key: [(0, None)] for key in (SCHEDULER, AUTOPILOT, *NAMES)
        }
        self.table = [0]  # indexes at which the table of namespaces changed

    def copy(self) -> Toy:
        other = Toy()
        other.index = self.index
        other.versions = {key: list(rows) for key, rows in self.versions.items()}
        other.table = list(self.table)
        return other

    def next_index(self) -> int:
        self.index += 1
        return self.index

    def version(self, key: str, at: int | None = None) -> tuple[int, Row | None]:
        versions = self.versions[key]
        if at is None:
            return versions[-1]
        return versions[bisect_right(versions, at, key=lambda each: each[0]) - 1]

    def table_index(self, at: int | None = None) -> int:
        return self.table[-1] if at is None else self.table[bisect_right(self.table, at) - 1]

    def put(self, key: str, row: Row | None, index: int) -> None:
        self.versions[key].append((index, row))
        if is_namespace(key) and self.table[-1] != index:
            self.table.append(index)

    def rows(self, at: int | None = None) -> dict[str, Row]:
        found = {key: self.version(key, at)[1] for key in self.versions}
        return {key: row for key, row in found.items() if row is not None}


class Imagined:
    """One run of clients against the toy; `history` is what they saw."""

    def __init__(
        self,
        seed: int,
        count: int,
        *,
        clients: int = 6,
        lost: float = 0.02,
        plant: Plant | None = None,
    ) -> None:
        self.chance = random.Random(seed)
        self.count = count
        self.lost = lost
        self.plant = plant
        self.planted = 0
        self.toy = Toy()
        self.other: Toy | None = None  # the second truth of a split brain
        self.views = dict.fromkeys(SERVERS, 0)
        self.seen = {SCHEDULER: 1, AUTOPILOT: 2}  # the ModifyIndex that was read last
        self.history: list[Operation] = []
        self.archives: list[dict[str, Row]] = []
        self.deleted: list[tuple[str, Row]] = []
        self.refused: list[tuple[str, str]] = []
        self.done: list[tuple[str, str]] = []
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = 0
        self._values = 0
        self._begin(clients)

    def _begin(self, clients: int) -> None:
        for number, key in enumerate((SCHEDULER, AUTOPILOT)):
            operation = self._operation("setup", "write", key, number * 0.1)
            self._record(self._perform(operation), number * 0.1 + 0.02)
            look = self._operation("setup", "read", key, number * 0.1 + 0.04)
            self._record(self._perform(look), number * 0.1 + 0.06)
        for number in range(clients):
            self._at(1.0 + number / 10, self._client(f"client-{number}"))

    def run(self) -> list[Operation]:
        while self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return self.history

    # Clients

    def _at(self, time: float, act: Callable[[float], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (time, self._numbers, act))

    def _client(self, name: str) -> Callable[[float], None]:
        def next_call(now: float) -> None:
            if len(self.history) < self.count:
                self._call(name, now, next_call)

        return next_call

    def _call(self, name: str, now: float, then: Callable[[float], None]) -> None:
        operation = self._chosen(name, now)
        fate = self.chance.random() if operation.writes and operation.kind != "restore" else 1.0
        if fate < self.lost:
            self._lose(operation, now, then)
            return
        effect = now + self.chance.uniform(0.001, 0.02)
        back = effect + self.chance.uniform(0.001, 0.02)
        if fate < 2 * self.lost:
            if operation.row is not None:
                self.refused.append((operation.key, operation.row.value))
            self._record(msgspec.structs.replace(operation, outcome="not done"), back)
        else:

            def take_effect(now: float) -> None:
                del now
                self._record(self._perform(operation), back)

            self._at(effect, take_effect)
        self._at(back + self.chance.uniform(0.0, 0.02), then)

    def _lose(self, operation: Operation, now: float, then: Callable[[float], None]) -> None:
        """No answer: done soon, done much later, or never."""
        back = now + GIVES_UP_S
        self._record(msgspec.structs.replace(operation, outcome="unknown"), back)
        effect = self.chance.choice((None, 0.01, GIVES_UP_S / 2, GIVES_UP_S * 5))
        if effect is not None:
            self._at(now + effect, lambda _: self._perform(operation) and None)
        self._at(back, then)

    def _record(self, operation: Operation, back: float) -> None:
        self.history.append(msgspec.structs.replace(operation, back=back))

    def _operation(self, client: str, kind: Any, key: str, now: float, **more: Any) -> Operation:
        server = self.chance.choice(SERVERS)
        if kind in {"write", "compare"}:
            self._values += 1
            more["row"] = Row(f"v{self._values}", 0)
        return Operation(
            client=client, server=server, kind=kind, key=key, call=now, back=now, **more
        )

    def _chosen(self, client: str, now: float) -> Operation:
        kind = self.chance.choices(
            ("read", "write", "compare", "delete", "save", "restore"), (50, 20, 20, 8, 1, 1)
        )[0]
        if kind == "restore" and not self.archives:
            kind = "save"
        if kind in {"save", "restore"}:
            rows = self.chance.choice(self.archives) if kind == "restore" else None
            return self._operation(client, kind, EVERYTHING, now, rows=rows)
        if kind == "delete":
            return self._operation(client, kind, self.chance.choice(NAMES), now)
        if kind == "compare":
            key = self.chance.choice((SCHEDULER, AUTOPILOT))
            expected = self.seen[key] if self.chance.random() < 0.8 else 1
            return self._operation(client, kind, key, now, expected=expected)
        keys = (SCHEDULER, AUTOPILOT, self.chance.choice(NAMES))
        if kind == "write":
            return self._operation(client, kind, self.chance.choice(keys), now)
        key = self.chance.choice((*keys, NAMESPACES))
        return self._operation(client, kind, key, now, stale=self.chance.random() < 0.3)

    # The store

    def _plants(self, plant: Plant) -> bool:
        """Whether to break the promise now."""
        if self.plant is not plant or self.planted >= PLANTS:
            return False
        if len(self.history) < self.count * (1 + self.planted) / (PLANTS + 2):
            return False
        self.planted += 1
        return True

    def _perform(self, operation: Operation) -> Operation:
        """Let it take effect; the answer."""
        toy = self._toy(operation.server)
        self._disturb(toy)
        perform = {
            "read": self._read,
            "save": self._save,
            "restore": self._restore,
            "delete": self._delete,
            "write": self._write,
            "compare": self._compare,
        }[operation.kind]
        return perform(operation, toy)

    def _toy(self, server: str) -> Toy:
        if self.other is None and self._plants(Plant.SPLIT_BRAIN):
            self.other = self.toy.copy()
        return self.other if self.other is not None and server == SERVERS[2] else self.toy

    def _disturb(self, toy: Toy) -> None:
        """Faults that come by themselves."""
        rows = [(key, row) for key, row in toy.rows().items() if is_namespace(key)]
        if rows and self._plants(Plant.LOST_NAMESPACE):
            toy.put(self.chance.choice(rows)[0], None, toy.next_index())
        if self.deleted and self._plants(Plant.RESURRECTED_DELETE):
            toy.put(*self.deleted.pop(), toy.next_index())
        for plant, candidates in (
            (Plant.LATE_EFFECT, self.refused),
            (Plant.SECOND_EFFECT, self.done),
        ):
            if candidates and self._plants(plant):
                key, value = candidates.pop()
                index = toy.next_index()
                toy.put(key, Row(value, index), index)
        if self._plants(Plant.FROM_NOWHERE):
            index = toy.next_index()
            toy.put(SCHEDULER, Row(f"nobody-{index}", index), index)

    def _read(self, operation: Operation, toy: Toy) -> Operation:
        at = self._view(operation, toy) if operation.stale else None
        key = operation.key
        if key == NAMESPACES:
            rows = {name: row for name, row in toy.rows(at).items() if is_namespace(name)}
            if rows and self._plants(Plant.TORN_LIST):
                del rows[self.chance.choice(list(rows))]
            return msgspec.structs.replace(operation, rows=rows, index=toy.table_index(at))
        index, row = toy.version(key, at)
        if len(toy.versions[key]) > 2 and not operation.stale and self._plants(Plant.STALE_READ):
            # What was replaced by a write of long ago, so that its answer came before this call.
            index, row = toy.versions[key][-2]
            toy.index += 1
        if row is not None and not operation.stale:
            self.seen[key] = row.modified
        answer: int | None = index
        if is_namespace(key) and row is None:
            answer = toy.table_index(at)
        if key == AUTOPILOT:
            answer = None
        return msgspec.structs.replace(operation, row=row, index=answer)

    def _view(self, operation: Operation, toy: Toy) -> int:
        """How far the memory of a server is."""
        old = self.views[operation.server]
        new = max(old, toy.index - self.chance.randrange(6))
        if operation.key in {SCHEDULER, NAMESPACES} and self._plants(Plant.MEMORY_BACK):
            return max(2, new - 30)
        self.views[operation.server] = new
        return new

    def _save(self, operation: Operation, toy: Toy) -> Operation:
        self.archives.append(toy.rows())
        return msgspec.structs.replace(operation, rows=toy.rows(), index=toy.index)

    def _restore(self, operation: Operation, toy: Toy) -> Operation:
        index = toy.next_index()
        spared = self.chance.choice(NAMES) if self._plants(Plant.TORN_RESTORE) else ""
        rows = operation.rows or {}
        for key in toy.versions:
            if key != spared:
                toy.put(key, rows.get(key), index)
        toy.put(NAMES[0], toy.version(NAMES[0])[1], index)
        return msgspec.structs.replace(operation, index=index)

    def _delete(self, operation: Operation, toy: Toy) -> Operation:
        index = toy.next_index()
        row = toy.version(operation.key)[1]
        if row is not None:
            self.deleted.append((operation.key, row))
        toy.put(operation.key, None, index)
        return msgspec.structs.replace(operation, index=index)

    def _write(self, operation: Operation, toy: Toy) -> Operation:
        row = operation.row
        assert row is not None
        key = operation.key
        reused = toy.index > 0 and self._plants(Plant.INDEX_REUSE)
        index = toy.index if reused else toy.next_index()
        if toy.index > 40 and self._plants(Plant.INDEX_BACK):
            index -= 35
        if not self._plants(Plant.LOST_UPDATE):
            toy.put(key, Row(row.value, index), index)
            self.done.append((key, row.value))
        return msgspec.structs.replace(operation, index=None if key == AUTOPILOT else index)

    def _compare(self, operation: Operation, toy: Toy) -> Operation:
        before = toy.version(operation.key)[1]
        assert before is not None
        matches = before.modified == operation.expected
        if not matches and operation.expected != 1:
            matches = self._plants(Plant.DUPLICATE_COMPARE)
        elif matches and self._plants(Plant.WRONG_REFUSAL):
            matches = False
        if matches:
            return self._write(operation, toy)
        index = None if operation.key == AUTOPILOT else toy.next_index()
        return msgspec.structs.replace(operation, index=index, outcome="refused")


def imagine(seed: int, count: int, **options: Any) -> list[Operation]:
    return Imagined(seed, count, **options).run()
