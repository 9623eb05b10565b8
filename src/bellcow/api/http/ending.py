"""How a connection ends: at once, after its last bytes, or one direction first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.http.deadlines import LAST_BYTES, LINGER

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.flow_control import FlowControl

    from bellcow.api.http.admission import Admission
    from bellcow.api.http.deadlines import Deadline
    from bellcow.api.http.shared import Shared
    from bellcow.api.message import Response


class Ending:
    """Closes one connection. `ended`: nothing is read or answered any more."""

    __slots__ = ("_admission", "_deadline", "_flow", "_shared", "_transport", "_unsent", "ended")

    _flow: FlowControl
    _transport: asyncio.Transport

    def __init__(self, admission: Admission, deadline: Deadline, shared: Shared) -> None:
        self._admission = admission
        self._deadline = deadline
        self._shared = shared
        self._unsent = 0  # bytes, at the last look
        self.ended = False

    def begin(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        """The connection is made. Nothing else may be called before."""
        self._transport = transport
        self._flow = flow

    def abort(self) -> None:
        """End at once. Bytes that are not sent yet are lost."""
        self.ended = True
        self._transport.abort()

    def cut_off(self, waited_for: str) -> None:
        """End at once, because the client is too slow."""
        self._shared.log_mistake(
            "http_client_too_slow", client=self._admission.peer, waited_for=waited_for
        )
        self.abort()

    def answer_last(self, response: Response) -> None:
        """Write an answer, and end so that the client can read it."""
        self._transport.write(self._shared.render(response, close=True))
        self.linger()

    def close(self) -> None:
        """End once all bytes are sent, if the client reads them."""
        self.ended = True
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self.watch_close()

    def linger(self) -> None:
        """Send no more, and close when the client does or `linger_s` later.

        Data that arrives at a closed socket resets it, which destroys an answer on its way.
        """
        self.ended = True
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._flow.resume_reading()
        self._deadline.expect(LINGER, self._shared.limits.linger_s)

    def close_lingering(self) -> None:
        """Close though the client has not."""
        self._transport.close()
        self.watch_close()

    def watch_close(self) -> None:
        """Abort if no byte has left since the last look; otherwise look again `stall_s` later.

        A closed transport stays while bytes are left to send.
        """
        left = self._transport.get_write_buffer_size()
        if self._deadline.phase is LAST_BYTES and left >= self._unsent:
            self._transport.abort()
            return
        self._unsent = left
        self._deadline.expect(LAST_BYTES, self._shared.limits.stall_s)
