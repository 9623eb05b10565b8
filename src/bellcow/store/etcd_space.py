"""Defragmentation of a member's file while the member runs.

Only that member is defragmented. Meanwhile it answers nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import open_client
from bellcow.store.etcd_errors import translated

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.etcd.client import Client


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """Size of the file in bytes before and after, and whether its quota had stopped all writes."""

    before: int
    after: int
    was_full: bool


async def defragment(directory: Path) -> Freed:
    """Defragment the file of the member in `directory`.

    Raises:
        StoreError: the member refused, or did not answer.
    """
    async with open_client(directory) as client:
        with translated(write=False):
            before = await client.status(pb.StatusRequest())
            await client.defragment(pb.DefragmentRequest())
            after = await client.status(pb.StatusRequest())
            was_full = await _lift_alarm(client, before.header.member_id)
    return Freed(before=before.db_size, after=after.db_size, was_full=was_full)


async def _lift_alarm(client: Client, member_id: int) -> bool:
    """Disarm etcd's alarm if this member was full. Returns whether it was."""
    alarm = pb.AlarmRequest(
        action=pb.AlarmRequest.DEACTIVATE, member_id=member_id, alarm=pb.NOSPACE
    )
    raised = await client.alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET))
    if not any((each.member_id, each.alarm) == (member_id, pb.NOSPACE) for each in raised.alarms):
        return False
    await client.alarm(alarm)
    return True
