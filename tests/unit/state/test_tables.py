"""Tables in memory: rows, what finds them besides the id, and the indexes of tables."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from bellcow.model.acl import ACLPolicy, ACLToken, secret_digest
from bellcow.model.namespace import Namespace
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.tables import (
    ACL_POLICIES,
    ACL_TOKENS,
    DELETIONS,
    NAMESPACES,
    ONLY,
    REGISTRY,
    SCHEDULER,
    Deletion,
    Tables,
    UnknownTableError,
    decode,
    fill,
    with_indexes,
)
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack


def commit(tables: Tables, index: int, rows, **fields):
    """Apply `rows`, a mapping of (table, id) to row or None, as one commit."""
    changes = {
        (table.name, row_id): None if row is None else to_msgpack(with_indexes(row, index, index))
        for (table, row_id), row in rows.items()
    }
    head = Head(index=index, commit=f"c{index}", ops=len(changes), **fields)
    return tables.apply(head, changes)


def token(accessor: str, secret: str) -> ACLToken:
    return ACLToken(accessor_id=accessor, secret_id=secret, type="management")


def test_new_tables_are_empty_with_index_zero():
    tables = Tables()
    assert tables.index == 0
    assert tables.one(SCHEDULER) is None
    assert dict(tables.all(NAMESPACES)) == {}
    assert tables.table_index(NAMESPACES, SCHEDULER) == 0


def test_commit_is_applied_whole_and_returns_the_tables_it_changed():
    tables = Tables()
    touched = commit(
        tables,
        7,
        {(NAMESPACES, "a"): Namespace(name="a"), (SCHEDULER, ONLY): SchedulerConfiguration()},
    )
    assert touched == {"namespaces", "scheduler_configuration"}
    assert tables.index == 7
    assert tables.get(NAMESPACES, "a") == Namespace(name="a", create_index=7, modify_index=7)
    assert tables.one(SCHEDULER) is not None


def test_row_held_by_a_reader_stays_as_it_was():
    tables = Tables()
    commit(tables, 1, {(NAMESPACES, "a"): Namespace(name="a", description="old")})
    held = tables.get(NAMESPACES, "a")
    commit(tables, 2, {(NAMESPACES, "a"): Namespace(name="a", description="new")})
    assert held is not None
    assert held.description == "old"


def test_index_of_a_table_is_that_of_its_last_write():
    tables = Tables()
    commit(tables, 3, {(NAMESPACES, "a"): Namespace(name="a")})
    commit(tables, 5, {(ACL_POLICIES, "p"): ACLPolicy(name="p")})
    assert tables.table_index(NAMESPACES) == 3
    assert tables.table_index(ACL_POLICIES) == 5
    assert tables.table_index(NAMESPACES, ACL_POLICIES) == 5


def test_deletion_raises_the_index_of_its_table_and_is_returned_under_its_name():
    tables = Tables()
    commit(tables, 3, {(NAMESPACES, "a"): Namespace(name="a")})
    touched = commit(tables, 4, {(NAMESPACES, "a"): None, (DELETIONS, NAMESPACES.name): Deletion()})
    assert touched == {"namespaces"}
    assert tables.get(NAMESPACES, "a") is None
    assert tables.table_index(NAMESPACES) == 4


def test_deletion_of_a_missing_row_is_no_error():
    tables = Tables()
    commit(tables, 1, {(NAMESPACES, "a"): None, (ACL_TOKENS, "t"): None})
    assert dict(tables.all(NAMESPACES)) == {}


def test_index_of_a_table_is_never_below_the_floor():
    tables = Tables()
    commit(tables, 3, {(NAMESPACES, "a"): Namespace(name="a")}, floor=20)
    assert tables.table_index(NAMESPACES) == 20


def test_row_index_above_that_of_memory_hides_no_later_write():
    tables = Tables()
    far = Namespace(name="far", create_index=1 << 40, modify_index=1 << 40)
    tables.apply(Head(index=3, commit="c3", ops=1), {("namespaces", "far"): to_msgpack(far)})
    assert tables.table_index(NAMESPACES) == 3
    assert tables.row_index(tables.get(NAMESPACES, "far")) == 3
    commit(tables, 4, {(NAMESPACES, "far"): Namespace(name="far")})
    assert tables.table_index(NAMESPACES) == 4
    assert tables.row_index(tables.get(NAMESPACES, "far")) == 4


def test_version_changes_with_each_commit_on_a_table_and_with_no_other():
    tables = Tables()
    seen = [tables.version(NAMESPACES, ACL_TOKENS)]
    for index, rows in enumerate(
        [
            {(NAMESPACES, "a"): Namespace(name="a")},
            {(NAMESPACES, "a"): None},
            {(ACL_TOKENS, "t"): token("t", "s")},
            {(SCHEDULER, ONLY): SchedulerConfiguration()},
            {(DELETIONS, ACL_TOKENS.name): Deletion()},
        ],
        start=1,
    ):
        commit(tables, index, rows)
        seen.append(tables.version(NAMESPACES, ACL_TOKENS))
    tables.replace(Head(index=5, commit="other"), fill([]))
    seen.append(tables.version(NAMESPACES, ACL_TOKENS))
    assert [after > before for before, after in itertools.pairwise(seen)] == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]


def test_token_is_found_by_its_secret_until_either_changes():
    tables = Tables()
    commit(tables, 1, {(ACL_TOKENS, "t"): token("t", "first")})
    assert tables.find(ACL_TOKENS, secret_digest("first")) is tables.get(ACL_TOKENS, "t")
    assert tables.find(ACL_TOKENS, secret_digest("other")) is None
    commit(tables, 2, {(ACL_TOKENS, "t"): token("t", "second")})
    assert tables.find(ACL_TOKENS, secret_digest("first")) is None
    assert tables.find(ACL_TOKENS, secret_digest("second")) is not None
    commit(tables, 3, {(ACL_TOKENS, "t"): None})
    assert tables.find(ACL_TOKENS, secret_digest("second")) is None


def test_token_that_takes_the_former_secret_of_another_in_one_commit_is_found_by_it():
    tables = Tables()
    commit(tables, 1, {(ACL_TOKENS, "t"): token("t", "a"), (ACL_TOKENS, "u"): token("u", "b")})
    commit(tables, 2, {(ACL_TOKENS, "u"): token("u", "a"), (ACL_TOKENS, "t"): token("t", "c")})
    assert tables.find(ACL_TOKENS, secret_digest("a")) is tables.get(ACL_TOKENS, "u")
    assert tables.find(ACL_TOKENS, secret_digest("b")) is None
    commit(tables, 3, {(ACL_TOKENS, "v"): token("v", "a"), (ACL_TOKENS, "u"): None})
    assert tables.find(ACL_TOKENS, secret_digest("a")) is tables.get(ACL_TOKENS, "v")


def test_another_generation_replaces_all():
    tables = Tables()
    commit(tables, 3, {(NAMESPACES, "a"): Namespace(name="a")})
    rows = fill(iter([(("namespaces", "b"), to_msgpack(Namespace(name="b", modify_index=2)))]))
    old = tables.replace(Head(index=9, floor=9, gen=1), rows)
    assert set(old.rows["namespaces"]) == {"a"}
    assert set(tables.all(NAMESPACES)) == {"b"}
    assert tables.table_index(NAMESPACES) == 9


def test_filling_finds_rows_by_their_secrets_too():
    rows = fill(iter([(("acl_tokens", "t"), to_msgpack(token("t", "s")))]))
    assert secret_digest("s") in rows.by_lookup["acl_tokens"]


def test_drained_rows_are_empty():
    rows = fill(iter([(("acl_tokens", "t"), to_msgpack(token("t", "s")))]))
    rows.drain()
    assert not any(rows.rows.values())
    assert not any(rows.by_lookup.values())


def test_object_of_an_unknown_table_is_refused_by_its_name():
    with pytest.raises(UnknownTableError, match='kind "jobs" that this version does not know'):
        decode(("jobs", "x"), b"\x80")


def test_object_of_another_type_than_its_table_is_refused():
    with pytest.raises(msgspec.ValidationError):
        decode(("namespaces", "x"), to_msgpack({"Name": 5}))


def test_every_table_reads_what_it_writes():
    for table in REGISTRY.values():
        required = {
            field.name: "x" if field.type is str else 1
            for field in msgspec.structs.fields(table.kind)
            if field.required
        }
        row = with_indexes(table.kind(**required), 3, 4)
        assert decode((table.name, "x"), to_msgpack(row)) == (table, row)
        assert (row.create_index, row.modify_index) == (3, 4)


def test_table_shows_its_name():
    assert repr(NAMESPACES) == "Table(namespaces)"
