"""The layout of the keys in etcd: what a commit writes, and what a watcher reads from events."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.etcd import etcd_pb2 as pb
from bellcow.store import etcd_keys
from bellcow.store.protocol import NO_HEAD, Change, Corrupt, Head

HEAD = Head(index=7, commit="c7", prev="c6", ops=2, gen=3)


def put_event(key: bytes, value: bytes) -> pb.Event:
    return pb.Event(type=pb.Event.PUT, kv=pb.KeyValue(key=key, value=value))


def delete_event(key: bytes) -> pb.Event:
    return pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=key))


def events_of(operations, existing: frozenset[bytes] = frozenset()) -> list[pb.Event]:
    """The events that etcd makes of a transaction: none for a delete of a key it does not have."""
    events = []
    for operation in operations:
        if operation.HasField("request_put"):
            events.append(put_event(operation.request_put.key, operation.request_put.value))
        elif operation.request_delete_range.key in existing:
            events.append(delete_event(operation.request_delete_range.key))
    return events


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {("t", "a"): b"1", ("t", ""): b""},
        {("t", "a"): None, ("t", "no"): None},
        {("t", "a"): b"1", ("t", "no/such \N{SNOWMAN}"): None},
    ],
)
@pytest.mark.parametrize("existing", [frozenset(), frozenset({b"g/3/t/a"})])
def test_watcher_reads_the_commit_that_was_written(changes, existing):
    head = msgspec.structs.replace(HEAD, ops=len(changes))
    events = events_of(etcd_keys.commit(head, changes), existing)
    assert etcd_keys.read_change(events) == Change(head, changes)


def test_head_does_not_grow_with_the_deletes_of_its_commit():
    changes = {("t", f"{number:036}"): None for number in range(4_096)}
    *_, last = etcd_keys.commit(HEAD, changes)
    assert last.request_put.key == b"head"
    assert len(last.request_put.value) < 200
    assert etcd_keys.read_head(last.request_put.value) == HEAD


def test_commit_without_deletes_leaves_the_former_list_alone():
    operations = etcd_keys.commit(HEAD, {("t", "a"): b"1"})
    assert [each.request_put.key for each in operations] == [b"g/3/t/a", b"head"]


def test_deletes_that_an_earlier_release_listed_in_the_head_are_read():
    former = msgspec.structs.asdict(HEAD) | {"gone": [("t", "no"), ("t", "a")]}
    events = [delete_event(b"g/3/t/a"), put_event(b"head", msgspec.msgpack.encode(former))]
    changes = {("t", "a"): None, ("t", "no"): None}
    assert etcd_keys.read_change(events) == Change(HEAD, changes)


def test_revision_that_leaves_the_head_alone_is_no_commit():
    assert etcd_keys.read_change([put_event(b"g/4/t/a", b"1"), delete_event(b"g/2/t/a")]) is None


def test_objects_of_another_generation_are_not_part_of_a_commit():
    events = [put_event(b"g/30/t/a", b"1"), put_event(b"head", msgspec.msgpack.encode(HEAD))]
    assert etcd_keys.read_change(events) == Change(HEAD, {})


def test_deleted_head_is_no_head():
    assert etcd_keys.read_change([delete_event(b"deletes"), delete_event(b"head")]) == Change(
        NO_HEAD, {}
    )


def test_unreadable_head_list_and_key_are_refused_by_name():
    whole = put_event(b"head", msgspec.msgpack.encode(HEAD))
    with pytest.raises(Corrupt, match="the head in etcd"):
        etcd_keys.read_change([put_event(b"head", b"\xc1")])
    with pytest.raises(Corrupt, match="the list of deletes in etcd"):
        etcd_keys.read_change([put_event(b"deletes", b"\xc1"), whole])
    with pytest.raises(Corrupt, match="not one of ours"):
        etcd_keys.read_change([put_event(b"g/3/x", b"1"), whole])
