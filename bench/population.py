"""Many objects, written straight into a stopped agent's store.

Policies, tokens and namespaces in the proportion 4 : 5 : 1, each as its handler would have made it.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.acl.hashing import namespace_hash, policy_hash, token_hash
from bellcow.clock import SystemClock, new_uuid
from bellcow.gocompat.time import rfc3339
from bellcow.model.acl import ACLPolicy, ACLToken
from bellcow.model.namespace import Namespace
from bellcow.state.tables import ACL_POLICIES, ACL_TOKENS, NAMESPACES, Table, with_indexes
from bellcow.store.sqlite import open_store
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bellcow.store.protocol import Key

CLOCK = SystemClock()
A_COMMIT = 4_000
RULES = """\
namespace "team-%d" {
  policy       = "write"
  capabilities = ["submit-job", "read-logs"]
}
node { policy = "read" }
"""


def populate(path: Path, count: int) -> None:
    """Add `count` objects to the store in `path`, a few thousand a commit."""
    asyncio.run(_populate(path, count))


async def _populate(path: Path, count: int) -> None:
    store = await open_store(path, CLOCK)
    try:
        head = await store.confirm()
        rows = objects(count)
        while chunk := list(itertools.islice(rows, A_COMMIT)):
            index = head.index + 1
            changes: dict[Key, bytes | None] = {
                (table.name, row_id): to_msgpack(with_indexes(row, index, index))
                for table, row_id, row in chunk
            }
            following = msgspec.structs.replace(
                head,
                index=index,
                commit=CLOCK.random_bytes(8).hex(),
                prev=head.commit,
                ops=len(changes),
            )
            head = await store.commit(head, following, changes)
    finally:
        await store.close()


def objects(count: int) -> Iterator[tuple[Table[Any], str, Any]]:
    for number in range(count):
        kind = number % 10
        if kind < 4:
            yield ACL_POLICIES, f"policy-{number}", policy(number)
        elif kind < 9:
            made = token(number)
            yield ACL_TOKENS, made.accessor_id, made
        else:
            yield NAMESPACES, f"team-{number}", namespace(number)


def policy(number: int) -> ACLPolicy:
    made = ACLPolicy(
        name=f"policy-{number}",
        description=f"What team {number} may do",
        rules=RULES % number,
    )
    return msgspec.structs.replace(made, hash=policy_hash(made))


def token(number: int) -> ACLToken:
    made = ACLToken(
        accessor_id=new_uuid(CLOCK),
        secret_id=new_uuid(CLOCK),
        name=f"deploy-{number}",
        type="client",
        policies=(f"policy-{number // 10 * 10}",),
        create_time=rfc3339(CLOCK.wall_ns()),
    )
    return msgspec.structs.replace(made, hash=token_hash(made))


def namespace(number: int) -> Namespace:
    made = Namespace(name=f"team-{number}", description=f"The jobs of team {number}")
    return msgspec.structs.replace(made, hash=namespace_hash(made))
