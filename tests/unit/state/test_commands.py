"""Commands on settings and namespaces."""

from __future__ import annotations

import pytest

from bellcow.errors import Code, Error
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.namespace import Namespace
from bellcow.state.commands import Written, delete_namespace, put_namespace, put_setting
from bellcow.state.draft import Draft
from bellcow.state.tables import AUTOPILOT, NAMESPACES, Tables, with_indexes
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack


@pytest.fixture
def draft():
    """A draft over one setting with modify index 4, in memory that stands at 7."""
    tables = Tables()
    row = to_msgpack(with_indexes(AutopilotConfiguration(), 4, 4))
    tables.apply(Head(index=7), {("autopilot_configuration", "-"): row})
    return Draft(tables)


def run(draft, command):
    outcome = draft.run(command)
    draft.keep()
    return outcome


NEW = AutopilotConfiguration(max_trailing_logs=1)


def test_setting_is_replaced(draft):
    assert run(draft, put_setting(AUTOPILOT, NEW)) == Written(8, updated=True)
    assert draft.one(AUTOPILOT) == with_indexes(NEW, 4, 8)


def test_setting_is_replaced_when_the_index_matches(draft):
    assert run(draft, put_setting(AUTOPILOT, NEW, 4)) == Written(8, updated=True)


@pytest.mark.parametrize("cas", [0, 3, 5, 8])
def test_setting_stays_when_the_index_does_not_match_and_an_index_is_taken(draft, cas):
    assert run(draft, put_setting(AUTOPILOT, NEW, cas)) == Written(8, updated=False)
    stored = draft.one(AUTOPILOT)
    assert stored is not None
    assert stored.modify_index == 4
    assert draft.last_index == 8


def test_missing_setting_matches_no_index():
    draft = Draft(Tables())
    assert run(draft, put_setting(AUTOPILOT, NEW, 0)) == Written(1, updated=False)
    assert draft.one(AUTOPILOT) is None


def test_only_the_first_of_two_with_the_same_index_matches(draft):
    command = put_setting(AUTOPILOT, NEW, 4)
    assert [run(draft, command).updated for _ in range(2)] == [True, False]


def test_namespace_is_created_and_deleted(draft):
    assert run(draft, put_namespace(Namespace(name="a"))).index == 8
    assert run(draft, delete_namespace("a")).index == 9
    assert draft.get(NAMESPACES, "a") is None


def test_unknown_namespace_is_deleted_with_success(draft):
    assert run(draft, delete_namespace("a")) == Written(8)


def test_default_namespace_stays(draft):
    with pytest.raises(Error, match="can not delete default namespace") as caught:
        run(draft, delete_namespace("default"))
    assert caught.value.code is Code.REFUSED
