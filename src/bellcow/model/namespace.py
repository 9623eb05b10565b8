"""Namespaces, as stored and as a client sends them."""

from __future__ import annotations

from typing import Any, ClassVar

from bellcow.errors import Error, invalid
from bellcow.wire import Wire

DEFAULT = "default"


class NamespaceCapabilities(Wire, frozen=True, kw_only=True):
    """What jobs of a namespace may use: stored for clients of later releases, without effect."""

    GO_TYPE: ClassVar[str] = "structs.NamespaceCapabilities"

    disabled_network_modes: tuple[str, ...] | None = None
    disabled_task_drivers: tuple[str, ...] | None = None
    enabled_network_modes: tuple[str, ...] | None = None
    enabled_task_drivers: tuple[str, ...] | None = None


class Namespace(Wire, frozen=True, kw_only=True, gc=False):
    """A namespace. `hash` is base64 of BLAKE2b-256 over all fields that a client may set.

    Later releases of Nomad have `capabilities` and `meta`: None when the client sent none.
    """

    capabilities: NamespaceCapabilities | None = None
    create_index: int = 0
    description: str = ""
    hash: str = ""
    meta: dict[str, str] | None = None
    modify_index: int = 0
    name: str = ""
    quota: str = ""


class NamespaceBody(Wire, frozen=True, kw_only=True):
    """A namespace as a client sends it, with the fields of Nomad Enterprise."""

    GO_STRUCT: ClassVar[str] = "Namespace"
    GO_TYPE: ClassVar[str] = "structs.Namespace"

    capabilities: NamespaceCapabilities | None = None
    consul_configuration: Any = None
    create_index: int = 0
    description: str = ""
    hash: str = ""
    meta: dict[str, str] | None = None
    modify_index: int = 0
    name: str = ""
    node_pool_configuration: Any = None
    quota: str = ""
    vault_configuration: Any = None

    def problem(self) -> Error | None:
        """The refusal of fields that would be ignored. Later free releases of Nomad refuse too."""
        asked = {
            "ConsulConfiguration": self.consul_configuration,
            "NodePoolConfiguration": self.node_pool_configuration,
            "VaultConfiguration": self.vault_configuration,
        }
        for name, value in asked.items():
            if any(value.values()) if isinstance(value, dict) else value:
                return invalid(f"{name} of a namespace is not supported; leave it out")
        return None

    def row(self) -> Namespace:
        return Namespace(
            capabilities=self.capabilities,
            description=self.description,
            meta=self.meta,
            name=self.name,
            quota=self.quota,
        )
