"""One connection of a client: its life, the order of its answers, and how it is closed.

It extends uvicorn's httptools protocol. `Reader` parses requests, `Deadline` watches the time, and
an `App` answers them; this module must not know routes or tokens. The fast path answers with one
write while the parser still runs. A task (`Cycle`) answers every other request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bellcow.api.http import deadlines
from bellcow.api.http.admission import Admission
from bellcow.api.http.blocking import BlockingQuery
from bellcow.api.http.deadlines import Deadline
from bellcow.api.http.ending import Ending
from bellcow.api.http.flow import Flow
from bellcow.api.http.reader import HEAD, Reader, Refusal, Unfinished
from bellcow.api.http.render import plain
from bellcow.api.http.task import Cycle, Quick
from bellcow.api.message import Request, Response, Wait

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from bellcow.api.http.shared import Shared

_NOTHING_QUEUED: Final[deque[Any]] = deque()  # shared: a deque of its own takes 0.7 kB
# Parsed at a time, so that one read cannot start thousands of pipelined requests.
_SLICE: Final = 4096


class Connection(HttpToolsProtocol):
    """One connection: the `Receiver` of its reader, its deadline's `Late`, its query's `Asker`."""

    # Slots, because one attribute more would cost every instance the shared layout of its dict.
    __slots__ = (
        "_deadline",
        "_held",
        "_last_words",
        "_query",
        "_quick",
        "_task",
        "_written",
        "admission",
        "ending",
        "parting",
        "reader",
        "secure",
        "shared",
        "streaming",
        "written",
    )

    cycle: Any  # a Cycle or the Quick
    loop: asyncio.AbstractEventLoop

    def __init__(self, shared: Shared, *, secure: bool = False) -> None:
        super().__init__(shared.config, shared.state, {}, asyncio.get_running_loop())
        self.shared = shared
        self.secure = secure
        self.admission = Admission(shared)
        self.parser = None  # type: ignore[assignment]  # the reader has its own
        self.pipeline = _NOTHING_QUEUED
        self.reader = Reader(self, shared.limits.header_bytes, secure=secure)
        self._deadline = Deadline(self.loop, self)
        # what is answered
        self._quick = Quick()
        self._task: asyncio.Task[None] | None = None
        self._query: BlockingQuery | None = None
        self._held = b""  # read behind queued requests, and not parsed yet
        self.streaming = False
        self.written = self._written = 0  # pieces of streams: now, and at the last look
        # how it ends
        self._last_words: Response | None = None
        self.ending = Ending(self.admission, self._deadline, shared)
        self.parting = False  # no request follows: the client sends no more, or we stop

    # --- life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # Replaces uvicorn's, which also reads both addresses: 0.5 kB that only a task needs.
        self.connections.add(self)
        self.transport = transport
        self.flow = Flow(transport)
        self.ending.begin(transport, self.flow)
        if not self.admission.entered and not self.admission.enter(transport):
            self.ending.ended = True
            return
        self.reader.client = self.admission.peer
        refusal = self.admission.refusal()
        if refusal is not None:
            self.ending.answer_last(refusal)
            return
        limits = self.shared.limits
        first_s = limits.handshake_s if self.secure else 0.0
        self._deadline.expect(deadlines.FIRST_BYTE, first_s or limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending.ended = True
        self.admission.leave()
        self._deadline.cancel()
        if self._query is not None:
            self._query.forget()
            self._query = None
        self._held = b""
        self.pipeline = _NOTHING_QUEUED
        super().connection_lost(exc)
        self.reader.close()
        self.cancel_task()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more. True leaves the connection open.

        The client may still read, or it may have left: then it resets the connection when we write.
        So everything is still answered, except that a stream that writes nothing is canceled.
        """
        if self.secure or self.ending.ended:
            return None
        self.parting = True
        if self._query is not None:
            self._query.hurry()
            return True
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return None
        self._watch_stream()
        return True

    def shutdown(self) -> None:
        """Stop: answer a blocking query with the present state, close an idle connection."""
        if self._query is not None:
            self.cycle.keep_alive = False
            self.parting = True
            self._query.hurry()
        else:
            super().shutdown()

    def _watch_stream(self) -> None:
        self._written = self.written
        self._deadline.expect(deadlines.STREAM_READER, self.shared.limits.linger_s)

    def check_stream(self) -> None:
        if not self.streaming:
            self._deadline.lift()
        elif self.written == self._written and not self.flow.write_paused:
            self.cancel_task()
        else:
            self._watch_stream()

    def cancel_task(self) -> None:
        """Cancel the task that answers, once: a second time would cancel its clean-up.

        `Task.cancelling` does not help, since it also counts a deadline that the task has missed.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    # --- bytes in

    def data_received(self, data: bytes) -> None:
        if self.ending.ended or self._last_words is not None:
            return
        if self.pipeline or self._held or len(data) > _SLICE:
            self._feed_slices(data)
            return
        left = self.reader.feed(data)
        if left is not None:
            self._after_feed(left)

    def _feed_slices(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            if self.ending.ended or self._last_words is not None:
                return
            if self._held or (self.pipeline and not self.cycle.more_body):
                # Requests are queued already, and none of them lacks its body.
                self._held += data[start:]
                self.flow.pause_reading()
                return
            left = self.reader.feed(data[start : start + _SLICE])
            if left is not None:
                self._after_feed(left)

    def _after_feed(self, left: Unfinished | Refusal) -> None:
        if isinstance(left, Refusal):
            if left.fault is not None:
                self.shared.log("http_protocol_fault", exc_info=left.fault)
            self._refuse(left)
        elif left is HEAD:
            phase = self._deadline.phase
            if phase is deadlines.NEXT_REQUEST or (phase is deadlines.FIRST_BYTE and self.secure):
                self._deadline.expect(deadlines.HEADERS, self.shared.limits.header_s)
        elif not self.cycle.asked:
            self.flow.pause_reading()  # until the body is wanted, if ever

    def on_request(self, request: Request) -> None:
        if self.ending.ended:
            return
        reader = self.reader
        running = self.cycle
        free = running is None or running.response_complete
        if (
            free
            and not reader.in_body
            and request.method == "GET"
            and not self.flow.write_paused
            and self._answer_now(request)
        ):
            return
        cycle = self.cycle = Cycle(
            self,
            request,
            version=reader.version,
            has_body=reader.in_body,
            keep_alive=reader.keep_alive,
            expects_continue=reader.expects_continue,
        )
        if free:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            if self.pipeline is _NOTHING_QUEUED:
                self.pipeline = deque()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_body_end(self) -> None:
        if self._deadline.phase is deadlines.UNREAD_BODY and not self.ending.ended:
            self._deadline.expect(deadlines.NEXT_REQUEST, self.shared.limits.keep_alive_s)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.end_body()

    # --- the fast path and blocking queries

    def _answer_now(self, request: Request) -> bool:
        answer = self.shared.ask(request, last=False)
        if answer is None:
            return False
        quick = self.cycle = self._quick
        quick.keep_alive = self.reader.keep_alive
        if isinstance(answer, Wait):
            quick.response_complete = False
            self._query = BlockingQuery(self, self.shared, request, answer)
            self._query.begin()
        else:
            self._write_now(answer)
        return True

    def on_wait(self, seconds: float) -> None:
        self._deadline.expect(deadlines.CHANGE, seconds)

    def stop_waiting(self) -> None:
        if self._query is not None:
            self._query.stop()

    def on_answer(self, request: Request, answer: Response | None) -> None:
        self._query = None
        if answer is not None:
            self._write_now(answer)
            return
        quick = self._quick
        quick.response_complete = True
        cycle = Cycle(self, request, keep_alive=quick.keep_alive)
        if self.cycle is quick:  # otherwise requests are queued behind it
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _write_now(self, answer: Response) -> None:
        quick = self._quick
        close = answer.close or not quick.keep_alive
        self.transport.write(self.shared.render(answer, close=close))
        quick.response_complete = True
        if close:
            self.ending.close()
        self.on_response_complete()

    # --- answers by task

    def _start_asgi_task(self, cycle: Any, app: ASGI3Application) -> None:
        self._deadline.lift()
        task = self._task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Start the next queued request, or wait for one. Replaces uvicorn's, and its timer."""
        self.server_state.total_requests += 1
        self._task = None
        if self.ending.ended or self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self.ending.answer_last(self._last_words)
        elif self.parting:
            self.ending.close()
        else:
            self._await_next()

    def _await_next(self) -> None:
        limits, reader = self.shared.limits, self.reader
        if reader.in_head and not self._held:
            self._deadline.expect(deadlines.HEADERS, limits.header_s)
        elif reader.in_body:
            self._deadline.expect(deadlines.UNREAD_BODY, limits.body_s)
        else:
            self._deadline.expect(deadlines.NEXT_REQUEST, limits.keep_alive_s)
        if self._held or self.flow.read_paused:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            if held:
                self.data_received(held)

    def finish(self, cycle: Cycle, *, close: bool) -> None:
        """A task has written its answer to the last byte."""
        self.streaming = False
        if self.cycle is cycle:
            self.cycle = self._quick  # which is complete, and holds neither body nor headers
        if close and cycle.more_body:
            self.ending.linger()
        elif close:
            self.ending.close()
        self.on_response_complete()

    def abandon(self, cycle: Cycle, text: str = "Internal Server Error") -> None:
        """A task has ended without an answer: canceled, or by a fault that has been logged."""
        if self.ending.ended or self.transport.is_closing():
            return
        self._task = None
        if cycle.response_started:
            self.ending.abort()  # half an answer must not look like a whole one
        else:
            self.ending.answer_last(self._last_words or plain(500, text))

    def stalled(self) -> None:
        """The client does not read; the task ends by itself."""
        self._task = None
        self.ending.cut_off("reading our answer")

    # --- the end

    def _refuse(self, refusal: Refusal) -> None:
        """Read no more. The refusal is written after the answers to the requests before."""
        if self.ending.ended or self._last_words is not None:
            return
        status, text = refusal.status, refusal.text
        self.shared.log_mistake(
            "http_request_refused", client=self.admission.peer, status=status, reason=text
        )
        self.flow.pause_reading()
        self._last_words = words = plain(status, text)
        if self.reader.in_body:
            self._drop_broken_request()
        if self.cycle is None or self.cycle.response_complete:
            self.ending.answer_last(words)

    def _drop_broken_request(self) -> None:
        """Drop the request whose body is broken: the last one parsed, queued or being answered."""
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.pipeline:
            self.pipeline.popleft()
        else:
            self.cancel_task()
            if not self.cycle.response_started:
                self.cycle = self._quick
