"""What every block of settings is made of: its base class, and the help and priority of a key."""

from __future__ import annotations

import msgspec

from bellcow.gocompat.duration import Duration


def acts(text: str) -> msgspec.Meta:
    """Help of a key that bellcow obeys."""
    return msgspec.Meta(description=text, extra={"priority": "A"})


def partly(text: str) -> msgspec.Meta:
    """Help of a key that bellcow obeys in part: for example, it stores the value."""
    return msgspec.Meta(description=text, extra={"priority": "B"})


def later(text: str) -> msgspec.Meta:
    """Help of a key that is checked and stored but has no effect yet: one warning at start."""
    return msgspec.Meta(description=text, extra={"priority": "L"})


def ignored(text: str) -> msgspec.Meta:
    """Help of a key that is accepted so that existing files load: one warning at start."""
    return msgspec.Meta(description=text, extra={"priority": "C"})


class Anything(msgspec.Struct, frozen=True):
    """The value of a key that is accepted in any shape and dropped."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every block of settings."""


def seconds(count: float) -> Duration:
    """A default of that many seconds."""
    return Duration.seconds(count)


Strings = tuple[str, ...]
