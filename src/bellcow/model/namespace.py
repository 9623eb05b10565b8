"""Namespaces."""

from __future__ import annotations

from bellcow.wire import Wire

DEFAULT = "default"


class Namespace(Wire, frozen=True, kw_only=True, gc=False):
    """A namespace. `hash` is base64 of BLAKE2b-256 over name, description and quota."""

    create_index: int = 0
    description: str = ""
    hash: str = ""
    modify_index: int = 0
    name: str = ""
    quota: str = ""
