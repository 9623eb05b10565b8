"""The names that a server's certificate must contain: they show the role and the region.

The operator's own certificates use Nomad's names (`.nomad`), those derived from the shared key
use `.bellcow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bellcow.config import peer_certificates
from bellcow.errors import denied

if TYPE_CHECKING:
    from collections.abc import Collection


class ServerNames(msgspec.Struct, frozen=True):
    """The server names of one kind of certificate."""

    ending: Literal["nomad", "bellcow"]

    def of(self, region: str) -> str:
        """The name of the servers of a region."""
        if self.ending == peer_certificates.ENDING:
            return peer_certificates.server_name(region)
        return f"server.{region}.{self.ending}"

    def check(self, names: Collection[str], region: str) -> None:
        """Check that the names include that of a server of this region.

        Raises:
            denied: they do not.
        """
        wanted = self.of(region)
        if wanted not in names:
            shown = ", ".join(sorted(names)[:4]) or "none"
            raise denied(f"certificate is not one of {wanted}; its names: {shown}")

    def check_any(self, names: Collection[str]) -> None:
        """Check that the names include that of a server of any region.

        Raises:
            denied: they do not.
        """
        ending = f".{self.ending}"
        if not any(name.startswith("server.") and name.endswith(ending) for name in names):
            raise denied(f"certificate is not one of a server: server.<region>{ending}")
