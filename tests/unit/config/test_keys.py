from __future__ import annotations

from bellcow.config.keys import all_keys, get_value, put_value
from bellcow.config.model import Settings


def test_every_key_has_help_a_type_and_a_priority():
    for key in all_keys():
        assert key.help.endswith("."), key.path
        assert key.priority in {"A", "B", "L", "C"}
        assert (key.kind == "block") == (key.block is not None)


def test_keys_of_any_shape_have_no_effect():
    assert {key.priority for key in all_keys() if key.kind == "any"} == {"C"}


def test_paths_are_unique_and_lead_to_their_defaults():
    keys = all_keys()
    assert len({key.path for key in keys}) == len(keys)
    for key in keys:
        assert get_value(Settings(), key.path) == key.default


def test_putting_a_value_changes_one_setting_and_no_other_tree():
    before = Settings()
    after = put_value(before, "server.server_join.retry_max", 3)
    assert get_value(after, "server.server_join.retry_max") == 3
    assert before == Settings()
    assert put_value(after, "server.server_join.retry_max", 0) == before
