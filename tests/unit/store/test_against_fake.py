"""Random stories told to SQLite and to the fake at once: answers, states and streams must agree."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.sim.store import MemoryStore

from bellcow.clock import SystemClock
from bellcow.store.protocol import NO_HEAD, Reload, StoreError
from bellcow.store.sqlite import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bellcow.store.protocol import Head, Store

keys = st.tuples(st.sampled_from(["t", "u"]), st.text(max_size=3))
values = st.binary(max_size=40)
generations = st.integers(1, 4)


class Both(RuleBasedStateMachine):
    """One story, two stores."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "server/store.db"
        self.runner = asyncio.Runner()
        self.fake = MemoryStore()
        self.real = self.runner.run(open_store(self.path, SystemClock()))
        self.known = NO_HEAD
        self.older = NO_HEAD
        self.commits = 0
        self.follow()

    def teardown(self) -> None:
        self.runner.run(self.real.close())
        self.runner.close()
        self.directory.cleanup()

    def follow(self) -> None:
        self.streams = [store.changes(self.known) for store in (self.fake, self.real)]

    def both(self, call: Callable[[Store], Awaitable[object]]) -> object:
        async def outcome(store: Store) -> object:
            try:
                return await call(store)
            except (StoreError, ValueError) as error:
                return type(error)

        expected = self.runner.run(outcome(self.fake))
        assert self.runner.run(outcome(self.real)) == expected
        return expected

    def head_after(self, known: Head, ops: int, **fields: object) -> Head:
        self.commits += 1
        commit = f"c{self.commits}"
        head = msgspec.structs.replace(
            known, index=known.index + 1, commit=commit, prev=known.commit, ops=ops
        )
        return msgspec.structs.replace(head, **fields)

    def commit(self, head: Head, changes: dict[tuple[str, str], bytes | None]) -> None:
        self.older = self.known
        self.known = self.both(lambda store: store.commit(self.known, head, changes))
        assert self.known == head
        seen = [self.runner.run(asyncio.wait_for(anext(each), 20)) for each in self.streams]
        assert seen[0] == seen[1]
        if isinstance(seen[0], Reload):
            self.follow()
        else:
            assert seen[0].head == head

    @rule(changes=st.dictionaries(keys, values | st.none(), max_size=6))
    def write(self, changes):
        self.commit(self.head_after(self.known, len(changes)), changes)

    @rule(changes=st.dictionaries(keys, values, max_size=2))
    def write_late(self, changes):
        late = self.head_after(self.older, len(changes))
        if self.older != self.known:
            self.both(lambda store: store.commit(self.older, late, changes))

    @rule(gen=generations, items=st.lists(st.tuples(keys, values), max_size=5), late=st.booleans())
    def stage(self, gen, items, late):
        known = self.older if late else self.known
        self.both(lambda store: store.stage(known, gen, items))

    @rule(gen=generations, late=st.booleans())
    def drop(self, gen, late):
        known = self.older if late else self.known
        self.both(lambda store: store.drop(known, gen))

    @rule(gen=generations, changes=st.dictionaries(keys, values, max_size=2))
    def switch(self, gen, changes):
        self.commit(self.head_after(self.known, len(changes), gen=gen, gens=4), changes)

    @rule()
    def restart(self):
        self.runner.run(self.real.close())
        self.real = self.runner.run(open_store(self.path, SystemClock()))
        self.fake = MemoryStore(self.fake.disk)
        self.follow()

    @invariant()
    def states_agree(self):
        async def state(store: Store) -> object:
            head, items = await store.load()
            return head, dict(items), await store.confirm()

        head, _, confirmed = self.both(state)
        assert head == confirmed == self.known


TestBoth = Both.TestCase
TestBoth.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
