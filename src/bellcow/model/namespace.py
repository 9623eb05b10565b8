"""Namespaces."""

from __future__ import annotations

from bellcow.wire import Wire

DEFAULT = "default"


class NamespaceCapabilities(Wire, frozen=True, kw_only=True):
    """What jobs of a namespace may use. Kept for clients of later releases; there are no jobs."""

    disabled_network_modes: tuple[str, ...] | None = None
    disabled_task_drivers: tuple[str, ...] | None = None
    enabled_network_modes: tuple[str, ...] | None = None
    enabled_task_drivers: tuple[str, ...] | None = None


class Namespace(Wire, frozen=True, kw_only=True, gc=False):
    """A namespace. `hash` is base64 of BLAKE2b-256 over all that a client may set.

    `capabilities` and `meta` are of later releases: None where nothing was given.
    """

    capabilities: NamespaceCapabilities | None = None
    create_index: int = 0
    description: str = ""
    hash: str = ""
    meta: dict[str, str] | None = None
    modify_index: int = 0
    name: str = ""
    quota: str = ""
