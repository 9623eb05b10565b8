"""Whether a new connection is answered, refused or cut, and its share in the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bellcow.api.http.render import plain

if TYPE_CHECKING:
    import asyncio

    from bellcow.api.http.limits import Admitted
    from bellcow.api.http.shared import Shared
    from bellcow.api.message import Response

_TOO_MANY: Final = (
    "Too many connections from your address: %d are allowed (limits.http_max_conns_per_client)"
)
_FULL: Final = "Too many connections: this server allows %d (by its limit of open files)"
_ALL: Final = "all addresses"


class Admission:
    """Counts one connection while it lasts. `peer` is the client's IP address, "" without one."""

    __slots__ = ("_result", "_shared", "peer")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._result: Admitted | None = None
        self.peer = ""

    @property
    def entered(self) -> bool:
        return self._result is not None

    def enter(self, transport: asyncio.Transport) -> bool:
        """Count the connection; False if it was cut. With TLS, call it before the handshake."""
        clients = self._shared.clients
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else ""
        self._result = clients.enter(self.peer)
        if self._result != "admitted":
            key = _ALL if clients.full else ""
            self._shared.log_mistake("http_too_many_connections", client=self.peer, key=key)
        if self._result == "cut":
            transport.abort()
            return False
        return True

    def leave(self) -> None:
        """Count the connection no longer."""
        if self._result is not None:
            self._shared.clients.leave(self.peer, self._result)
            self._result = None

    def refusal(self) -> Response | None:
        """The only answer on a connection that is refused."""
        if self._result != "refused":
            return None
        limits = self._shared.limits
        if self._shared.clients.full:
            return plain(429, _FULL % limits.connections)
        return plain(429, _TOO_MANY % limits.connections_per_client)
