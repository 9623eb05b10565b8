"""What commands of one batch see of each other, and that a refused one changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.errors import Error, invalid
from bellcow.model.acl import ACLToken, secret_digest
from bellcow.model.namespace import Namespace
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.draft import Draft
from bellcow.state.tables import (
    ACL_TOKENS,
    DELETIONS,
    NAMESPACES,
    SCHEDULER,
    Table,
    Tables,
    with_indexes,
)
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack


def tables_at(index: int, **rows: Namespace) -> Tables:
    tables = Tables()
    changes = {
        ("namespaces", name): to_msgpack(with_indexes(row, 1, 1)) for name, row in rows.items()
    }
    tables.apply(Head(index=index), changes)
    return tables


def put(name: str, description: str = ""):
    return lambda draft: draft.put(NAMESPACES, name, Namespace(name=name, description=description))


def refuse(draft: Draft) -> None:
    draft.put(NAMESPACES, "half", Namespace(name="half"))
    raise invalid("no")


def test_command_takes_the_index_after_memory():
    draft = Draft(tables_at(7))
    stored = draft.run(put("a"))
    assert (stored.create_index, stored.modify_index) == (8, 8)
    draft.keep()
    assert draft.last_index == 8


def test_commands_of_a_batch_take_one_index_each_and_see_each_other():
    draft = Draft(tables_at(7))
    draft.run(put("a", "first"))
    draft.keep()
    stored = draft.run(put("a", "second"))
    draft.keep()
    assert (stored.create_index, stored.modify_index) == (8, 9)
    assert draft.get(NAMESPACES, "a") == stored
    assert draft.changes == {(NAMESPACES, "a"): stored}


def test_replaced_row_keeps_its_create_index():
    draft = Draft(tables_at(7, a=Namespace(name="a")))
    assert draft.run(put("a")).create_index == 1


def test_refused_command_leaves_nothing_and_takes_no_index():
    draft = Draft(tables_at(7))
    with pytest.raises(Error):
        draft.run(refuse)
    draft.keep()
    assert draft.get(NAMESPACES, "half") is None
    assert (draft.last_index, draft.changes) == (7, {})


def test_forgotten_command_leaves_nothing_and_its_index_is_free_again():
    draft = Draft(tables_at(7))
    draft.run(put("a"))
    draft.forget()
    assert draft.get(NAMESPACES, "a") is None
    assert draft.run(put("b")).modify_index == 8


def test_command_may_take_an_index_and_change_nothing():
    draft = Draft(tables_at(7))
    draft.run(lambda draft: draft.take_index())
    draft.keep()
    assert (draft.last_index, draft.changes) == (8, {})


def test_command_that_only_reads_takes_no_index():
    draft = Draft(tables_at(7, a=Namespace(name="a")))
    assert draft.run(lambda draft: draft.get(NAMESPACES, "a")) is not None
    draft.keep()
    assert draft.last_index == 7


def test_deletion_is_seen_by_the_next_command_and_marks_its_table():
    draft = Draft(tables_at(7, a=Namespace(name="a")))
    draft.run(lambda draft: draft.delete(NAMESPACES, "a"))
    draft.keep()
    assert draft.get(NAMESPACES, "a") is None
    mark = draft.get(DELETIONS, "namespaces")
    assert mark is not None
    assert mark.modify_index == 8


def test_row_created_after_its_deletion_has_a_new_create_index():
    draft = Draft(tables_at(7, a=Namespace(name="a")))
    draft.run(lambda draft: draft.delete(NAMESPACES, "a"))
    draft.keep()
    assert draft.run(put("a")).create_index == 9


def test_ids_are_those_after_the_changes_of_the_batch():
    draft = Draft(tables_at(7, a=Namespace(name="a"), b=Namespace(name="b")))
    draft.run(lambda draft: draft.delete(NAMESPACES, "a"))
    draft.keep()
    draft.run(put("c"))
    assert sorted(draft.ids(NAMESPACES)) == ["b", "c"]


def test_single_setting_is_read_and_written_without_an_id():
    draft = Draft(tables_at(7))
    assert draft.one(SCHEDULER) is None
    draft.put_one(SCHEDULER, SchedulerConfiguration())
    assert draft.one(SCHEDULER) is not None


def token(accessor: str, secret: str) -> ACLToken:
    return ACLToken(accessor_id=accessor, secret_id=secret)


def test_token_is_found_by_the_secret_it_has_in_the_batch():
    tables = Tables()
    tables.apply(Head(index=1), {("acl_tokens", "t"): to_msgpack(token("t", "old"))})
    draft = Draft(tables)
    assert draft.find(ACL_TOKENS, secret_digest("old")) is not None
    draft.put(ACL_TOKENS, "t", token("t", "new"))
    assert draft.find(ACL_TOKENS, secret_digest("old")) is None
    assert draft.find(ACL_TOKENS, secret_digest("new")) is not None
    draft.delete(ACL_TOKENS, "t")
    assert draft.find(ACL_TOKENS, secret_digest("new")) is None
    draft.put(ACL_TOKENS, "u", token("u", "old"))
    found = draft.find(ACL_TOKENS, secret_digest("old"))
    assert found is not None
    assert found.accessor_id == "u"


def with_tokens(**secrets: str) -> Tables:
    tables = Tables()
    changes = {("acl_tokens", t): to_msgpack(token(t, secret)) for t, secret in secrets.items()}
    tables.apply(Head(index=1), changes)
    return tables


def owner(reader: Draft | Tables, secret: str) -> str | None:
    found = reader.find(ACL_TOKENS, secret_digest(secret))
    return None if found is None else found.accessor_id


def set_secret(accessor: str, secret: str):
    return lambda draft: draft.put(ACL_TOKENS, accessor, token(accessor, secret))


def kept(draft: Draft, *commands) -> None:
    for command in commands:
        draft.run(command)
        draft.keep()


def test_token_of_an_earlier_command_is_found():
    draft = Draft(Tables())
    kept(draft, set_secret("t", "one"), set_secret("u", "two"))
    assert (owner(draft, "one"), owner(draft, "two"), owner(draft, "three")) == ("t", "u", None)


def test_token_written_again_in_the_batch_is_found_as_it_was_written_last():
    draft = Draft(with_tokens(t="one"))
    kept(draft, lambda draft: draft.put(ACL_TOKENS, "t", token("t", "one")))
    found = draft.find(ACL_TOKENS, secret_digest("one"))
    assert found is not None
    assert found.modify_index == 2


def test_token_that_an_earlier_command_deleted_is_not_found():
    draft = Draft(with_tokens(t="one"))
    kept(draft, lambda draft: draft.delete(ACL_TOKENS, "t"))
    assert owner(draft, "one") is None


def test_secret_that_an_earlier_command_replaced_is_not_found():
    draft = Draft(with_tokens(t="one"))
    kept(draft, set_secret("t", "two"), set_secret("t", "three"))
    assert (owner(draft, "one"), owner(draft, "two"), owner(draft, "three")) == (None, None, "t")


def test_secret_released_in_the_batch_may_be_taken_by_another_token():
    draft = Draft(with_tokens(t="one"))
    kept(draft, lambda draft: draft.delete(ACL_TOKENS, "t"), set_secret("u", "one"))
    assert owner(draft, "one") == "u"
    kept(draft, set_secret("t", "two"), set_secret("u", "three"), set_secret("t", "one"))
    assert (owner(draft, "one"), owner(draft, "two")) == ("t", None)


def test_secret_taken_from_a_token_stays_taken_when_that_token_is_deleted():
    draft = Draft(with_tokens(t="one"))
    kept(draft, set_secret("u", "one"), lambda draft: draft.delete(ACL_TOKENS, "t"))
    assert owner(draft, "one") == "u"


def test_secret_of_a_forgotten_command_is_not_found_and_a_released_one_is_found_again():
    draft = Draft(with_tokens(t="one"))
    draft.run(set_secret("t", "two"))
    draft.forget()
    assert (owner(draft, "one"), owner(draft, "two")) == ("t", None)


@pytest.mark.parametrize("size", [8, 64])
def test_lookups_of_a_command_do_not_grow_with_the_batch(size):
    """One digest to look for a secret, one to write it, whatever the batch has changed before."""
    digests = 0
    counted = Table("acl_tokens", ACLToken, lambda row: counting(row.secret_id))

    def counting(secret: str) -> str:
        nonlocal digests
        digests += 1
        return secret

    draft = Draft(Tables())
    for number in range(size):
        name = f"t{number}"
        assert draft.find(counted, name) is None
        kept(draft, lambda draft, name=name: draft.put(counted, name, token(name, name)))
    assert digests == size


secrets = st.lists(
    st.tuples(
        st.sampled_from(("put", "delete", "refuse")), st.sampled_from("tuv"), st.sampled_from("abc")
    ),
    max_size=30,
)


@given(secrets)
def test_find_gives_what_a_scan_of_all_rows_gives_in_the_batch_and_after_it(steps):
    draft = Draft(tables := with_tokens(t="a", u="b"))
    for kind, name, secret in steps:
        if kind == "put" and owner(draft, secret) not in {None, name}:
            continue  # a command refuses a secret that another token has
        if kind == "delete":
            kept(draft, lambda draft, name=name: draft.delete(ACL_TOKENS, name))
        else:
            draft.run(set_secret(name, secret))
            draft.forget() if kind == "refuse" else draft.keep()
        rows = [draft.get(ACL_TOKENS, name) for name in draft.ids(ACL_TOKENS)]
        scanned = {row.secret_id: row.accessor_id for row in rows if row is not None}
        assert {secret: owner(draft, secret) for secret in "abc"} == {
            secret: scanned.get(secret) for secret in "abc"
        }
    changes = {
        (table.name, row_id): None if row is None else to_msgpack(row)
        for (table, row_id), row in draft.changes.items()
    }
    tables.apply(Head(index=draft.last_index), changes)
    assert [owner(tables, secret) for secret in "abc"] == [owner(draft, secret) for secret in "abc"]


commands = st.lists(
    st.tuples(st.sampled_from(("put", "delete", "refuse", "index")), st.sampled_from("abc"))
)


@given(commands)
def test_batch_leaves_what_its_commands_would_leave_one_by_one(steps):
    """One commit of the batch equals a commit for each command that was not refused."""
    batch = Draft(tables_at(5))
    alone = tables_at(5)
    for kind, name in steps:
        command = {
            "put": put(name),
            "delete": lambda draft, name=name: draft.delete(NAMESPACES, name),
            "refuse": refuse,
            "index": lambda draft: draft.take_index(),
        }[kind]
        single = Draft(alone)
        for draft in (batch, single):
            try:
                draft.run(command)
            except Error:
                continue
            draft.keep()
        changes = {
            (table.name, row_id): None if row is None else to_msgpack(row)
            for (table, row_id), row in single.changes.items()
        }
        alone.apply(Head(index=single.last_index), changes)
    assert batch.last_index == alone.index
    assert sorted(batch.ids(NAMESPACES)) == sorted(alone.all(NAMESPACES))
    for name in "abc":
        assert batch.get(NAMESPACES, name) == alone.get(NAMESPACES, name)
