"""One connection of a client: uvicorn's httptools protocol with limits, refusals and a fast path.

It owns bytes, deadlines and order: what may be read, when it is too much or too late, and how an
answer goes on the wire. It knows nothing of routes or tokens; it asks an `App`. The fast path
answers inside the parser's callback with one write; everything else is a task that runs the ASGI
callable.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from bellcow.api.http.render import plain, render
from bellcow.api.message import Request, Response, Wait, body_length, decoded_path
from bellcow.deadline import timeout
from bellcow.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from uvicorn._types import ASGI3Application, HTTPScope
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from bellcow.api.http.limits import Clients, HttpLimits
    from bellcow.api.message import App
    from bellcow.events import Report
    from bellcow.state.waiting import Waiting

SCOPE_KEY: Final = "bellcow"  # where the ASGI callable finds its `Cycle` in the scope's extensions

# Parsed at a time, so that one read cannot start thousands of pipelined requests.
_SLICE: Final = 4096
# Bytes of an unread body taken in for the sake of the connection; more than this closes it.
_DRAIN_BYTES: Final = 256 * 1024
STOPPING: Final = "this server stops"
_TIMER_SLACK_S: Final = 0.001  # timers are rounded to milliseconds and may be that much early

_TOKEN: Final = re.compile(rb"(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?= )")
_SPACES: Final = 2  # of a first line
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY: Final = re.compile(rb"[/?#]")  # what ends the host and port of a URL
_STAND_IN: Final = b"PATCH"  # a method the parser knows, for one that it does not

_TOO_MANY: Final = (
    "Too many connections from your address: %d are allowed (limits.http_max_conns_per_client)"
)
_FULL: Final = "Too many connections: this server has room for %d (its limit of open files)"
# What clients do wrong is logged once a second an address, and for so many addresses.
_SAY_EVERY_S: Final = 1.0
_SAY_OF: Final = 100
_ALL: Final = "all addresses"

# What a connection waits for, and so what happens when it takes too long.
_FIRST: Final = "first byte"
_HEAD: Final = "headers"
_IDLE: Final = "next request"
_BUSY: Final = "our answer"
_GONE: Final = "a sign that somebody still listens"
_WAIT: Final = "a change"
_DRAIN: Final = "rest of a body nobody reads"
_LINGER: Final = "the client to read our last answer"
_CLOSE: Final = "the last bytes to leave"


class Site:
    """What the connections of one server share."""

    __slots__ = ("_throttle", "app", "clients", "config", "limits", "log", "state", "waiting")

    def __init__(
        self,
        app: App,
        *,
        config: Config,
        state: ServerState,
        limits: HttpLimits,
        clients: Clients,
        waiting: Waiting,
        log: Report,
    ) -> None:
        self.app = app
        self.config = config
        self.state = state
        self.waiting = waiting
        self.log = log
        self.clients = clients
        self._throttle = Throttle(_SAY_EVERY_S, _SAY_OF, drop_when_full=True)
        self.take(limits)

    def take(self, limits: HttpLimits) -> None:
        """Other limits, from now on."""
        self.limits = limits
        self.clients.limit = limits.connections_per_client
        self.clients.total = limits.connections

    def say(self, event: str, /, *, client: str, key: str = "", **fields: object) -> None:
        """Log what a client does wrong, once a second. `more` counts what was not logged before."""
        now = asyncio.get_running_loop().time()
        held = self._throttle.held_back((event, key or client), now)
        if held is None:
            return
        if held:
            fields["more"] = held
        self.log(event, client=client, **fields)


def _is_known_method(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_NoEvent()).feed_data(method + b" /")
    except httptools.HttpParserInvalidMethodError:
        return False
    return True


class _Refused(Exception):
    """Stops the parser after a refusal has been noted on the connection."""


class _NoEvent:
    """Stands where uvicorn keeps an asyncio.Event; nobody waits for this one."""

    __slots__ = ()

    def set(self) -> None:
        pass


class _Quick:
    """What uvicorn wants to know of a request that has no cycle. One a connection, used again."""

    __slots__ = ("disconnected", "keep_alive", "more_body", "response_complete")

    asked = True
    message_event = _NoEvent()

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False


class Connection(HttpToolsProtocol):
    """One connection. It is also the waiter of its blocking query (`state.waiting.Waiter`)."""

    # Slots, because one attribute more would cost every instance the shared layout of its dict.
    __slots__ = (
        "_admission",
        "_brief",
        "_due",
        "_ended",
        "_head_bytes",
        "_held",
        "_in_body",
        "_in_head",
        "_last_words",
        "_method_as",
        "_overhead",
        "_parting",
        "_peer_names",
        "_phase",
        "_quick",
        "_refusal",
        "_request",
        "_site",
        "_tables",
        "_task",
        "_timer",
        "_timer_due",
        "_unsent",
        "_written",
        "peer",
        "secure",
        "streaming",
        "written",
    )

    cycle: Any  # a Cycle or the _Quick
    loop: asyncio.AbstractEventLoop

    def __init__(self, site: Site, *, secure: bool = False) -> None:
        super().__init__(site.config, site.state, {}, asyncio.get_running_loop())
        self._site = site
        self.secure = secure
        self.peer = ""
        self._peer_names: tuple[str, ...] = ()
        self._admission: Literal["admitted", "refused", "cut"] | None = None
        self._quick = _Quick()
        self._task: asyncio.Task[None] | None = None
        # what is being read
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._overhead = 0
        self._held = b""
        self._method_as: bytes | None = None
        self._refusal: tuple[int, str] | None = None
        # how it ends
        self._last_words: Response | None = None
        self._ended = False
        self._parting = False  # no request follows: the client sends no more, or we stop
        self._unsent = 0  # bytes, when last looked at
        self.streaming = False
        self.written = self._written = 0  # pieces of streams
        # a blocking query
        self._request: Request | None = None
        self._tables: tuple[str, ...] = ()
        self._brief = False
        # the one timer
        self._phase = _FIRST
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    # --- life of the connection

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count the connection in; False when it was cut off. With TLS before the handshake."""
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else ""
        self._admission = self._site.clients.enter(self.peer)
        if self._admission != "admitted":
            key = _ALL if self._site.clients.full else ""
            self._site.say("http_too_many_connections", client=self.peer, key=key)
        if self._admission == "cut":
            self._ended = True
            transport.abort()
            return False
        return True

    def leave(self) -> None:
        """Count the connection out."""
        if self._admission is not None:
            self._site.clients.leave(self.peer, self._admission)
            self._admission = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.secure:
            self._peer_names = _dns_names(transport.get_extra_info("peercert"))
        if self._admission is None and not self.admit(transport):
            return
        limits = self._site.limits
        if self._admission == "refused":
            full = self._site.clients.full
            text = _FULL % limits.connections if full else _TOO_MANY % limits.connections_per_client
            self._say_last(plain(429, text))
            return
        first_s = limits.handshake_s if self.secure else 0.0
        self._expect(_FIRST, first_s or limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._request is not None:
            self._site.waiting.discard(self._tables, self)
            self._request = None
        self._held = b""
        self.pipeline.clear()
        super().connection_lost(exc)
        self.give_up()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client will send no more. True keeps the connection.

        It is a half-closed client, who still gets what it asked for, or one that has gone. What we
        write tells: a client that has gone resets the connection. So only a stream that has nothing
        to write is given up.
        """
        if self.secure or self._ended:
            return None
        self._parting = True
        if self._request is not None:
            self._hurry()
            return True
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return None
        self._watch_stream()
        return True

    def shutdown(self) -> None:
        """The server stops: answer a blocking query as things stand, close an idle connection."""
        if self._request is not None:
            self.cycle.keep_alive = False
            self._parting = True
            self._hurry()
        else:
            super().shutdown()

    def _hurry(self) -> None:
        """Answer what waits as things stand, unless it ends soon by itself."""
        if not self._brief:
            self._stop_waiting()

    def _watch_stream(self) -> None:
        self._written = self.written
        self._expect(_GONE, self._site.limits.linger_s)

    def _judge_stream(self) -> None:
        if not self.streaming:
            self._phase = _BUSY
        elif self.written == self._written and not self.flow.write_paused:
            self.give_up()
        else:
            self._watch_stream()

    def give_up(self) -> None:
        """Cancel what answers here, once: a second time would hit the closing of what it holds.

        `Task.cancelling` cannot tell: a deadline of the task's own that ends just now counts there.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    # --- time: one timer a connection, set anew only when something is due before it

    def _expect(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._due = due = self.loop.time() + seconds
        if self._timer is None or due < self._timer_due:
            self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self.loop.time() + seconds
        self._timer = self.loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._phase is _BUSY:
            return
        left = self._due - self.loop.time()
        if left > _TIMER_SLACK_S:
            self._arm(left)
        else:
            self._overdue()

    def _overdue(self) -> None:
        if self._phase is _WAIT:
            self._stop_waiting()
        elif self._phase is _IDLE:
            self._close()
        elif self._phase is _LINGER:
            self.transport.close()
            self._watch_close()
        elif self._phase is _CLOSE:
            self._watch_close()
        elif self._phase is _GONE:
            self._judge_stream()
        else:
            self._site.say("http_client_too_slow", client=self.peer, waited_for=self._phase)
            self._ended = True
            self.transport.abort()

    # --- bytes in

    def data_received(self, data: bytes) -> None:
        if self._ended or self._last_words is not None:
            return
        if self._held or self._must_hold():
            self._hold(data)
        elif len(data) <= _SLICE:
            self._feed(data)
        else:
            self._feed_slices(data)

    def _must_hold(self) -> bool:
        """Whether what came in must wait, because requests are queued already."""
        return bool(self.pipeline) and not self.cycle.more_body

    def _hold(self, data: bytes) -> None:
        self._held += data
        self.flow.pause_reading()

    def _feed_slices(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            if self._ended or self._last_words is not None:
                return
            if self._must_hold():
                self._hold(data[start:])
                return
            self._feed(data[start : start + _SLICE])

    def _feed(self, data: bytes) -> None:
        between = not self._in_head and not self._in_body
        if between and b"  " in data and data.count(b" ", 0, data.find(b"\n", 4)) > _SPACES:
            # The parser takes any number in a row. Only where the request stands first in what was
            # read.
            self._refuse(400, "400 Bad Request: more than two spaces in the first line")
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # Nomad: nobody upgrades; what follows is the next request.
            if not self._ended:
                self._feed(data[stop.args[0] :])
            return
        except httptools.HttpParserInvalidMethodError:
            if not (between and self._feed_unknown_method(data)):
                self._refuse(400, "400 Bad Request")
            return
        except httptools.HttpParserError as fault:
            if self._refusal is None and isinstance(fault, httptools.HttpParserCallbackError):
                self._site.log("http_protocol_fault", exc_info=fault.__context__)
            self._refuse(*(self._refusal or (400, "400 Bad Request")))
            return
        if self._in_head:
            self._count_head(len(data))
        elif self._in_body:
            self._count_overhead(len(data))
            if not self.cycle.asked:
                self.flow.pause_reading()  # nobody wants it yet, and maybe nobody ever will

    def _feed_unknown_method(self, data: bytes) -> bool:
        """Nomad takes any token for a method and answers by route; the parser knows a closed list.

        So the parser gets a method it knows and the request the one that was sent. Only where the
        request stands first in what was read: the parser does not say how far it came.
        """
        token = _TOKEN.match(data)
        if token is None or _is_known_method(token[1]):
            return False
        self._method_as = token[1]
        self._reset_parser()
        self._feed(_STAND_IN + data[token.end() :])
        return True

    def _reset_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._site.limits.header_bytes:
            self._refuse(431, "431 Request Header Fields Too Large")
        elif self._phase is _IDLE or (self._phase is _FIRST and self.secure):
            self._expect(_HEAD, self._site.limits.header_s)

    def _count_overhead(self, size: int) -> None:
        """Chunk extensions and trailers are read and thrown away, but not without end."""
        self._overhead = max(0, self._overhead + size)
        if self._overhead > self._site.limits.header_bytes:
            self._refuse(400, "400 Bad Request")

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._ended:
            return
        parser = self.parser
        version = parser.get_http_version()
        has_body = self._check_headers(version)
        request = self._make_request(self._take_method())
        keep_alive = version == "1.1" and parser.should_keep_alive()
        free = self.cycle is None or self.cycle.response_complete
        if (
            free
            and not has_body
            and request.method == "GET"
            and not self.flow.write_paused
            and self._answer_now(request, keep_alive=keep_alive)
        ):
            return
        self._in_body = has_body
        self._overhead = 0
        cycle = self.cycle = Cycle(self, request, version=version, keep_alive=keep_alive)
        if free:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _check_headers(self, version: str) -> bool:
        """Whether a body follows; refuses what no request may be."""
        hosts = 0
        has_body = False
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                has_body = value != b"0"
            elif name == b"transfer-encoding":
                has_body = True
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        if version == "1.1":
            if hosts != 1:
                fault = "too many Host headers" if hosts else "missing required Host header"
                self._fail(400, f"400 Bad Request: {fault}")
        elif version == "2.0":
            self._fail(505, "505 HTTP Version Not Supported")
        elif version != "1.0":
            self._fail(400, "400 Bad Request")
        if has_body and self.parser.should_upgrade():
            # The parser would take the body for the next request.
            self._fail(400, "400 Bad Request: an upgrade request has no body here")
        return has_body

    def _take_method(self) -> str:
        method, self._method_as = self._method_as or self.parser.get_method(), None
        return method.decode("ascii")

    def _make_request(self, method: str) -> Request:
        url = self.url
        if url[:1] == b"/" or url == b"*":
            raw_path, _, raw_query = url.partition(b"?")
        else:
            raw_path, raw_query = self._split_url(url)
        if b"%" in raw_path:
            if _BAD_ESCAPE.search(raw_path):
                self._fail(400, "400 Bad Request")
            path = decoded_path(raw_path)
        else:
            path = raw_path.decode("latin-1")
        return Request(
            method,
            path,
            raw_path,
            raw_query,
            self.headers,
            self.peer,
            secure=self.secure,
            peer_names=self._peer_names,
        )

    def _split_url(self, url: bytes) -> tuple[bytes, bytes]:
        """Path and query of an absolute URL, which must be of the host that Host names.

        Of CONNECT's host and port, nothing.
        """
        scheme, separator, rest = url.partition(b"://")
        if separator and scheme.lower() not in {b"http", b"https"}:
            self._fail(400, "400 Bad Request: a target of another scheme")
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            self._fail(400, "400 Bad Request")
        hosts = [value.lower() for name, value in self.headers if name == b"host"]
        if separator and _AUTHORITY.split(rest, 1)[0].lower() not in hosts:
            self._fail(400, "400 Bad Request: the target is of another host than Host")
        return parsed.path or b"/", parsed.query or b""

    def _fail(self, status: int, text: str) -> NoReturn:
        self._refusal = (status, text)
        raise _Refused

    def on_body(self, body: bytes) -> None:
        self._overhead -= 16 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._phase is _DRAIN and not self._ended:
            self._expect(_IDLE, self._site.limits.keep_alive_s)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            super().on_message_complete()

    # --- the fast path

    def _answer_now(self, request: Request, *, keep_alive: bool) -> bool:
        answer = self._ask(request, last=False)
        if answer is None:
            return False
        quick = self.cycle = self._quick
        quick.keep_alive = keep_alive
        if isinstance(answer, Wait):
            quick.response_complete = False
            self._wait(request, answer)
        else:
            self._write_now(answer)
        return True

    def _ask(self, request: Request, *, last: bool) -> Response | Wait | None:
        try:
            return self._site.app.answer_now(request, last=last)
        except Exception as fault:  # noqa: BLE001  one request may not end the connection's others
            self._site.log("http_request_failed", path=request.path, exc_info=fault)
            return plain(500, "Internal Server Error")

    def _wait(self, request: Request, wait: Wait) -> None:
        self._request = request
        self._tables = wait.tables
        self._brief = wait.brief
        self._site.waiting.add(wait.tables, self)
        self._expect(_WAIT, wait.seconds)

    def wake(self) -> None:
        if self._request is not None:
            self._ask_again(last=False)

    def _stop_waiting(self) -> None:
        """Answer the blocking query as things stand."""
        self._site.waiting.discard(self._tables, self)
        self._ask_again(last=True)

    def _ask_again(self, *, last: bool) -> None:
        """Answer the blocking query, or go on waiting. It is in no set of `Waiting` here."""
        request, self._request = self._request, None
        if request is None or self.transport.is_closing():
            return
        answer = self._ask(request, last=last)
        if isinstance(answer, Wait) and not last:
            self._wait(request, answer)
            if self._parting:
                self._hurry()
        elif isinstance(answer, Response):
            self._write_now(answer)
        else:
            self._leave_to_task(request)

    def _leave_to_task(self, request: Request) -> None:
        quick = self._quick
        quick.response_complete = True
        cycle = Cycle(self, request, version="1.1", keep_alive=quick.keep_alive)
        cycle.more_body = False
        if self.cycle is quick:  # else requests are queued behind it
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _write_now(self, answer: Response) -> None:
        quick = self._quick
        close = answer.close or not quick.keep_alive
        self.transport.write(self.render(answer, close=close))
        quick.response_complete = True
        if close:
            self._close()
        self.on_response_complete()

    def render(
        self, response: Response, *, head: bool = False, old: bool = False, close: bool
    ) -> bytes:
        """The bytes of an answer; of a plain 500 when it cannot be written."""
        date = self.server_state.default_headers[0][1]
        try:
            return render(response, date, head=head, old=old, close=close)
        except (ValueError, KeyError, TypeError) as fault:
            self._site.log("http_answer_malformed", exc_info=fault)
            response.stream = None
            return render(
                plain(500, "Internal Server Error"), date, head=head, old=old, close=close
            )

    # --- answers by task

    def _start_asgi_task(self, cycle: Any, app: ASGI3Application) -> None:
        self._phase = _BUSY
        task = self._task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """As uvicorn's, but with our timer: start the next of the queue, or wait for one."""
        self.server_state.total_requests += 1
        self._task = None
        if self._ended or self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say_last(self._last_words)
        elif self._parting:
            self._close()
        else:
            self._await_next()

    def _await_next(self) -> None:
        limits = self._site.limits
        if self._in_head and not self._held:
            self._expect(_HEAD, limits.header_s)
        elif self._in_body:
            self._expect(_DRAIN, limits.body_s)
        else:
            self._expect(_IDLE, limits.keep_alive_s)
        if self.flow.read_paused or self._held:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, b""
        self.flow.resume_reading()
        if held:
            self.data_received(held)

    def must_close(self, cycle: Cycle, response: Response) -> bool:
        """Whether the connection ends with this answer."""
        if response.close or not cycle.keep_alive or response.status == 408:
            return True
        if not cycle.more_body:
            return False
        # The client still sends a body nobody reads: take a small one in, else there is no way on.
        return cycle.waiting_for_100_continue or not 0 <= cycle.declared <= _DRAIN_BYTES

    def finish(self, cycle: Cycle, *, close: bool) -> None:
        """After the last byte of an answer by task."""
        self.streaming = False
        if self.cycle is cycle:
            self.cycle = self._quick  # which is complete; lets go of the body and the headers
        if close and cycle.more_body:
            self._linger()
        elif close:
            self._close()
        self.on_response_complete()

    def abandon(self, cycle: Cycle, text: str = "Internal Server Error") -> None:
        """The task ended without an answer: cancelled, or by a fault that has been logged."""
        if self._ended or self.transport.is_closing():
            return
        self._task = None
        if cycle.response_started:
            self._ended = True
            self.transport.abort()  # half an answer must not look like a whole one
        else:
            self._say_last(self._last_words or plain(500, text))

    def stalled(self) -> None:
        self._site.say("http_client_too_slow", client=self.peer, waited_for="reading our answer")
        self._ended = True
        self._task = None
        self.transport.abort()

    @property
    def limits(self) -> HttpLimits:
        return self._site.limits

    def log(self, event: str, /, **fields: object) -> None:
        self._site.log(event, **fields)

    # --- the end

    def _refuse(self, status: int, text: str) -> None:
        """No more is read. The answer waits for its turn behind what is still being answered."""
        if self._ended or self._last_words is not None:
            return
        self._site.say("http_request_refused", client=self.peer, status=status, reason=text)
        self.flow.pause_reading()
        self._in_head = False
        self._last_words = words = plain(status, text)
        if self._in_body:
            self._drop_broken_request()
        if self.cycle is None or self.cycle.response_complete:
            self._say_last(words)

    def _drop_broken_request(self) -> None:
        """The request whose body went wrong is the last one parsed: queued, or being answered."""
        self._in_body = False
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.pipeline:
            self.pipeline.popleft()
        else:
            self.give_up()
            if not self.cycle.response_started:
                self.cycle = self._quick

    def _say_last(self, response: Response) -> None:
        self.transport.write(self.render(response, close=True))
        self._linger()

    def _linger(self) -> None:
        """Close in two steps: data meeting a closed socket would destroy the answer on its way."""
        self._ended = True
        self._held = b""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._expect(_LINGER, self._site.limits.linger_s)

    def _close(self) -> None:
        self._ended = True
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_close()

    def _watch_close(self) -> None:
        """A closed transport stays while bytes are left to send; give up when none leave."""
        left = self.transport.get_write_buffer_size()
        if self._phase is _CLOSE and left >= self._unsent:
            self.transport.abort()
            return
        self._unsent = left
        self._expect(_CLOSE, self._site.limits.stall_s)


class _Gone(Exception):
    """The client has left or does not read; the connection has ended."""


class Cycle(RequestResponseCycle):
    """One request answered by a task. The ASGI callable finds it in the scope and writes by it."""

    def __init__(
        self, connection: Connection, request: Request, *, version: str, keep_alive: bool
    ) -> None:
        super().__init__(
            scope=_scope(connection, request, version),
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self.connection = connection
        self.request = request
        self.declared = body_length(request)
        self.asked = False  # whether anybody wants the body
        self.old = version == "1.0"
        self.scope["extensions"] = {SCOPE_KEY: self}  # type: ignore[dict-item]

    async def run_asgi(self, app: ASGI3Application) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except _Gone:
            pass
        except asyncio.CancelledError:
            reads = self.request.method in {"GET", "HEAD"}
            self.connection.abandon(self, STOPPING if reads else f"outcome unknown: {STOPPING}")
            raise
        except Exception as fault:  # noqa: BLE001  the last one who can tell the client and the log
            self.connection.log("http_request_failed", path=self.request.path, exc_info=fault)
            self.connection.abandon(self)
        else:
            if not self.response_complete:
                self.connection.log("http_request_unanswered", path=self.request.path)
                self.connection.abandon(self)
        finally:
            self.scope.clear()  # type: ignore[attr-defined]
            self.on_response = _nothing

    async def receive(self) -> Any:
        self.asked = True
        return await super().receive()

    async def respond(self, response: Response) -> None:
        """Write the answer, all of it, and close its stream whatever happens."""
        stream = response.stream
        if stream is None:
            await self._drain()
            self._begin(response)
        else:
            async with closing(stream):
                await self._drain()
                self._begin(response)
                if self.request.method != "HEAD":
                    await self._pump(stream)
        self.response_complete = True
        self.connection.finish(self, close=not self.keep_alive)

    def _begin(self, response: Response) -> None:
        connection = self.connection
        if self.transport.is_closing():
            raise _Gone
        if connection.must_close(self, response):
            self.keep_alive = False
        self.response_started = True
        self.waiting_for_100_continue = False
        head = self.request.method == "HEAD"
        close = not self.keep_alive
        self.transport.write(connection.render(response, head=head, old=self.old, close=close))

    async def _pump(self, stream: AsyncIterator[bytes]) -> None:
        write = self.transport.write
        self.connection.streaming = True
        async for chunk in stream:
            if not chunk:
                continue
            self.connection.written += 1
            if self.old:
                write(chunk)
            else:
                write(b"%x\r\n" % len(chunk))
                write(chunk)
                write(b"\r\n")
            await self._drain()
        if not self.old:
            write(b"0\r\n\r\n")

    async def _drain(self) -> None:
        if not self.flow.write_paused:
            return
        try:
            async with timeout(self.connection.limits.stall_s):
                await self.flow.drain()
        except TimeoutError:
            self.connection.stalled()
            raise _Gone from None


@contextlib.asynccontextmanager
async def closing(stream: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """Close `stream` at the end, if it is of a kind that can be closed."""
    try:
        yield
    finally:
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()


def _dns_names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """Of a certificate that was verified; one that was not counts as none."""
    names = (certificate or {}).get("subjectAltName", ())
    return tuple(name for kind, name in names if kind == "DNS")


def _scope(connection: Connection, request: Request, version: str) -> HTTPScope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "server": connection.server,
        "client": connection.client,
        "scheme": "https" if connection.secure else "http",
        "method": request.method,
        "root_path": "",
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.raw_query,
        "headers": request.headers,
    }


def _nothing() -> None:
    pass
