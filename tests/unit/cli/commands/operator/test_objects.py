from __future__ import annotations

import msgspec
import pytest

from bellcow.cli.commands.operator.objects import HIDDEN, by_table, to_text
from bellcow.cli.shell.errors import CommandError

RECORDS = [
    ("acl_tokens", "a", msgspec.msgpack.encode({"Name": "t", "SecretID": "s1"})),
    ("license", "-", msgspec.msgpack.encode({"Blob": "ey.ey.x"})),
    ("namespaces", "web", msgspec.msgpack.encode({"Name": "web"})),
]


def test_secrets_are_left_out() -> None:
    assert by_table(RECORDS, secrets=False) == {
        "acl_tokens": [{"Name": "t", "SecretID": HIDDEN}],
        "license": [{"Blob": HIDDEN}],
        "namespaces": [{"Name": "web"}],
    }


def test_secrets_are_shown_on_request() -> None:
    assert by_table(RECORDS, secrets=True)["acl_tokens"] == [{"Name": "t", "SecretID": "s1"}]


def test_only_matching_objects_are_shown_and_the_filter_sees_their_secrets() -> None:
    found = by_table(RECORDS, secrets=False, wanted=lambda value: value.get("SecretID") == "s1")
    assert found == {"acl_tokens": [{"Name": "t", "SecretID": HIDDEN}]}


def test_a_deletion_names_its_table() -> None:
    record = ("deletions", "namespaces", msgspec.msgpack.encode({"ModifyIndex": 9}))
    assert by_table([record], secrets=False) == {
        "deletions": [{"Table": "namespaces", "ModifyIndex": 9}]
    }


def test_an_object_that_cannot_be_read_is_named() -> None:
    with pytest.raises(CommandError, match=r"^Object 'a' of 'namespaces' cannot be read: "):
        by_table([("namespaces", "a", b"\xc1")], secrets=False)


def test_the_text_is_sorted_and_indented_by_two() -> None:
    assert to_text({"b": 1, "a": [{"y": 1, "x": 2}]}) == (
        '{\n  "a": [\n    {\n      "x": 2,\n      "y": 1\n    }\n  ],\n  "b": 1\n}'
    )
