"""What a certificate must say for its holder to be a server, and of which region it is one.

The operator's own certificates say it in Nomad's words, those made of the shared key in ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bellcow.config import peer_certificates
from bellcow.errors import denied

if TYPE_CHECKING:
    from collections.abc import Collection


class ServerNames(msgspec.Struct, frozen=True):
    """How the servers of a region are called in their certificates."""

    ending: Literal["nomad", "bellcow"]

    def of(self, region: str) -> str:
        if self.ending == peer_certificates.ENDING:
            return peer_certificates.server_name(region)
        return f"server.{region}.{self.ending}"

    def check(self, names: Collection[str], region: str) -> None:
        """Raise Error(DENIED) unless a certificate with these names is of a server there."""
        wanted = self.of(region)
        if wanted not in names:
            shown = ", ".join(sorted(names)[:4]) or "none"
            raise denied(f"certificate is not one of {wanted}; its names: {shown}")

    def check_any(self, names: Collection[str]) -> None:
        """The same for a server of whichever region."""
        ending = f".{self.ending}"
        if not any(name.startswith("server.") and name.endswith(ending) for name in names):
            raise denied(f"certificate is not one of a server: server.<region>{ending}")
