"""Tokens as they are stored."""

from __future__ import annotations

from bellcow.model.acl import secret_digest


def test_any_string_has_a_secret_digest():
    assert len(secret_digest("\ud800")) == 32
