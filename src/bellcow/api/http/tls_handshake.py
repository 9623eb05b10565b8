"""TLS handshakes of the server side: counted, timed, and logged with the reason when they fail.

A connection that has finished its handshake is handed to `Connection`.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from bellcow.api.http.connection import Connection
from bellcow.cluster.transport.client import WITHOUT_TLS

if TYPE_CHECKING:
    from bellcow.api.http.limits import FailedHandshakes
    from bellcow.api.http.shared import Shared

_NO_LIMIT_S: Final = 86_400.0  # asyncio needs a limit; a day is as good as none

# A record of TLS begins with a byte that no method begins with.
_PLAIN_HTTP = tuple(
    method.encode()
    for method in ("GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ")
)
_WITHOUT_TLS = f"HTTP/1.0 400 Bad Request\r\n\r\n{WITHOUT_TLS}\n".encode()


class Handshake(asyncio.Protocol):
    """A connection to the TLS port until its handshake is done; counted and timed from the start.

    The handshake begins with the first bytes, so that a silent client costs no TLS state. We start
    it ourselves, since a server made with a TLS context does not report why a handshake failed.
    """

    def __init__(
        self,
        shared: Shared,
        context: ssl.SSLContext,
        running: set[Handshake],
        failures: FailedHandshakes,
    ) -> None:
        self._shared = shared
        self._context = context
        self._running = running
        self._failures = failures
        self._connection = Connection(shared, secure=True)
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._done = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._connection.admission.enter(self._transport):
            return
        loop = asyncio.get_running_loop()
        self._running.add(self)
        allowed_s = self._shared.limits.handshake_s or _NO_LIMIT_S
        self._due = loop.time() + allowed_s
        self._timer = loop.call_later(allowed_s, self._expire)

    def _expire(self) -> None:
        self._fail("no byte arrived in time")
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Abort: the server stops."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        """Count the connection no longer."""
        self._running.discard(self)
        self._connection.admission.leave()

    def _fail(self, reason: str) -> None:
        self._leave()
        peer = self._connection.admission.peer
        self._shared.log_mistake(
            "tls_handshake_failed", client=peer, key=f"{peer} {reason}", reason=reason
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._done:  # lost while it was handed over
            self._connection.connection_lost(exc)
        else:
            self._leave()

    def data_received(self, data: bytes) -> None:
        """The client's first bytes; later, what came with the end of the handshake."""
        self._received += data
        if self._task is not None or self._transport is None or self._timer is None:
            return
        self._timer.cancel()
        if self._received.startswith(_PLAIN_HTTP):
            self._fail("HTTP without TLS")
            self._transport.write(_WITHOUT_TLS)
            self._transport.close()
            return
        if self._failures.too_many(
            self._connection.admission.peer, asyncio.get_running_loop().time()
        ):
            self._fail("too many failed handshakes from this address")
            self._transport.abort()
            return
        self._transport.pause_reading()
        first, self._received = self._received, b""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._shake_hands(self._transport))
        # The task's first step installs TLS one turn of the loop later; the bytes follow it.
        loop.call_soon(loop.call_soon, self._replay, self._transport, first)

    @staticmethod
    def _replay(transport: asyncio.Transport, data: bytes) -> None:
        """Feed TLS the bytes that were received before it was installed."""
        tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        while data and not transport.is_closing():
            buffer = cast("memoryview", tls.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            tls.buffer_updated(size)
            data = data[size:]

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=max(0.001, self._due - loop.time()),
            )
        except OSError as fault:
            self._failures.count(self._connection.admission.peer, loop.time())
            self._fail(_reason(fault))
            return
        if secured is None or secured.is_closing():
            self._leave()
            return
        self._running.discard(self)
        self._done = True
        self._connection.reader.peer_names = _dns_names(secured.get_extra_info("peercert"))
        secured.set_protocol(self._connection)
        self._connection.connection_made(secured)
        if self._received:
            self._connection.data_received(self._received)


def _dns_names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """DNS names in a certificate that was verified; none for one that was not."""
    names = (certificate or {}).get("subjectAltName", ())
    return tuple(name for kind, name in names if kind == "DNS")


def _reason(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLError) and fault.reason:
        return fault.reason.lower().replace("_", " ")
    return str(fault) or type(fault).__name__
