"""What all values of the model have in common."""

from __future__ import annotations

import importlib
import pkgutil

import msgspec
import pytest

import bellcow.model
from bellcow.wire import Wire

MODULES = [each.name for each in pkgutil.iter_modules(bellcow.model.__path__)]
KINDS = [
    kind
    for name in MODULES
    for kind in vars(importlib.import_module(f"bellcow.model.{name}")).values()
    if isinstance(kind, type) and issubclass(kind, Wire) and kind is not Wire
]


def test_there_are_values():
    assert len(KINDS) > 15


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_value_is_frozen_and_made_by_name(kind):
    assert kind.__struct_config__.frozen
    with pytest.raises(TypeError):
        kind("by position")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_keys_begin_with_a_capital(kind):
    for field in msgspec.structs.fields(kind):
        assert field.encode_name[0].isupper(), field.encode_name
        assert "_" not in field.encode_name


def test_lists_are_never_shared_nor_changed():
    """A mutable default of a frozen value would be shared by all instances."""
    for kind in KINDS:
        for field in msgspec.structs.fields(kind):
            assert not isinstance(field.default, (list, set, dict)), (kind, field.name)
