"""The only path a request takes: find, lead, confirm, authorize, read, decode, handle, answer.

`answer_now` walks it without awaiting, for reads that memory can answer; `answer` walks the same
steps where something must be awaited, or another server asked. Both call the same handlers and
build answers in one place.
"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.acl.policy import MANAGEMENT, NOTHING
from bellcow.api.call import Call, Reply, parse_uint
from bellcow.api.errors import STATUS
from bellcow.api.message import Request, Response, Wait, body_length
from bellcow.api.pipeline import answers
from bellcow.api.pipeline.guards import Guards, secret_of
from bellcow.api.pipeline.no_leader import why_no_leader
from bellcow.api.pipeline.relay import Rest, Sent, ask_of, away, response_of
from bellcow.api.route import ROUTES, Paths, Route, Serve
from bellcow.deadline import timeout
from bellcow.errors import Code, Error, denied, invalid, no_leader, refused
from bellcow.events import Level
from bellcow.gocompat.json import Decoded, decode
from bellcow.gocompat.json_reader import DecodeError
from bellcow.model.forwarded import LAST_HOP
from bellcow.state.confirmed_reads import PATIENCE_S
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS
from bellcow.wire import NS_PER_S, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bellcow.api.message import Body, Headers
    from bellcow.server import Server
    from bellcow.store.protocol import Head

MAX_WAIT_S = 300.0
JITTER = 16  # a wait is prolonged by up to a sixteenth, so that not all end at once
PACK_NOW_LIMIT = 64 << 10  # bigger bodies are compressed in a thread
PACKERS = 4
DECODERS = 1
SHARED_BYTES = 16 << 20  # bodies of blocking queries kept while those who waited are answered
RIGHTS_TABLES = (ACL_BOOTSTRAP, ACL_TOKENS, ACL_POLICIES)
LOGGED_CHARS = 200
MESSAGE_CHARS = 4_000
DECODE_NOW_LIMIT = 4 << 10  # bytes; the slow reader takes a few milliseconds for as much
HOLD_S = 5.0  # how long a request waits for who can serve it
PAUSE_S = 0.05  # between two tries meanwhile
NS_PER_MS = NS_PER_S // 1_000
SNAPSHOTS = "/v1/operator/snapshot"

_TRUE, _FALSE = b"true", b"false"
_DEBUG = Level.DEBUG  # looked up once: the enumeration is slow, and each request asks
_UUID = re.compile(r"([0-9a-fA-F]{8})-[0-9a-fA-F-]+")


class _Cached:
    """An encoded answer, the state it was made from, and the last head at which that held.

    The state is the version of the tables and the epoch of the leadership.
    """

    __slots__ = ("head", "packed", "plain", "state")

    def __init__(self, state: tuple[int, int], plain: Response) -> None:
        self.head: Head | None = None
        self.state = state
        self.plain = plain
        self.packed: Response | None = None


class _Shared:
    """Answers to blocking queries at one head: all who waited for the same get the same bytes."""

    __slots__ = ("_answers", "_epoch", "_head", "_room")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._epoch = 0
        self._answers: dict[tuple[object, ...], Response] = {}
        self._room = SHARED_BYTES

    def move_to(self, head: Head, epoch: int) -> None:
        if head is not self._head or epoch != self._epoch:
            self._head, self._epoch = head, epoch
            self._answers.clear()
            self._room = SHARED_BYTES

    def get(self, key: tuple[object, ...]) -> Response | None:
        """An answer that may be changed, or one that is packed and never changes."""
        known = self._answers.get(key)
        if known is None or known.packed:
            return known
        return Response(known.status, list(known.headers), known.body)

    def keep(self, key: tuple[object, ...], response: Response) -> None:
        size = len(response.body) + 1_024  # and its key and headers
        if size <= self._room:
            self._room -= size
            self._answers[key] = response


class Pipeline:
    """Answers requests from a server's parts, by the declarations in `ROUTES`."""

    def __init__(self, server: Server, guards: Guards, routes: Sequence[Route] = ()) -> None:
        self._server = server
        self._log = server.facts.log
        self._guards = guards
        self._paths = Paths(list(routes) or ROUTES)
        self.add_headers(server.settings.http_api_response_headers)
        # Threads of their own: what clients send and ask for never stands before a file of ours.
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._packers = ThreadPoolExecutor(PACKERS, thread_name_prefix="pack")
        self.answered = 0
        self.refused = 0

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """What every answer carries from now on, in place of what was added before."""
        self._extra = [
            (name.encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()
        ]
        # Kept answers are whole ones, with the headers that were added then.
        self._cache: dict[str, _Cached] = {}
        self._shared = _Shared()
        self._away = away()

    # The two doors

    def answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        """Answer from memory, say to wait, or None where something must be awaited."""
        if not self._log.shows(_DEBUG):
            return self._answer_now(request, last=last)
        request.began = request.began or time.perf_counter()
        outcome = self._answer_now(request, last=last)
        if isinstance(outcome, Response):
            self._trace(request)
        return outcome

    def _trace(self, request: Request) -> None:
        """Nomad: a line for each request at level DEBUG."""
        took_s = time.perf_counter() - request.began
        self._server.report(
            "request_complete",
            method=request.method,
            path=_masked(request, request.path),
            duration=format_duration(int(took_s * NS_PER_S)),
        )

    def _answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        found = self._paths.find(request.path)
        if found is None:
            return None
        routes, tail = found
        route = routes.get(request.method)
        # Only a tail can be unclean: what is before it was found as it stands in the declaration.
        if route is None or route.awaits or (tail and _is_unclean(request.raw_path)):
            return None
        try:
            self._guards.check(request)
            outcome = self._read(route, Call(self._server, request, tail), last=last)
        except _NotHere:
            return None
        except Error as error:
            return answers.pack(request, self._refusal(request, error))
        except Exception as error:  # noqa: BLE001  the client gets a sentence, the log the rest
            return answers.pack(request, self._failure(request, error))
        if isinstance(outcome, Wait) or outcome.packed:
            return outcome
        if len(outcome.body) > PACK_NOW_LIMIT:
            return None
        return answers.pack(request, outcome)

    async def answer(self, request: Request, body: Body) -> Response:
        """Answer any request, awaiting what must be awaited."""
        request.began = request.began or time.perf_counter()
        try:
            response = await self._answer(request, body)
        except Error as error:
            response = self._refusal(request, error)
        except Exception as error:  # noqa: BLE001  the client gets a sentence, the log the rest
            response = self._failure(request, error)
        if self._log.shows(_DEBUG):
            self._trace(request)
        if request.method == "HEAD":
            response.body = b""
        if len(response.body) > PACK_NOW_LIMIT and not response.packed:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._packers, answers.pack, request, response)
        return answers.pack(request, response)

    async def _answer(self, request: Request, body: Body) -> Response:
        if not request.hops:
            self._guards.check(request)
        if _is_unclean(request.raw_path):
            return answers.redirect(301, answers.cleaned(request.path), request)
        found = self._paths.find(request.path)
        if found is None:
            return self._unknown_path(request)
        route = found[0].get(request.method)
        if route is None:
            return self._wrong_method(next(iter(found[0].values())))
        call = Call(self._server, request, found[1])
        call.content = body
        if not route.awaits:
            return await self._led(route, call, lambda: self._read_waiting(route, call), Sent())
        self._common(route, request)
        sent = _sent(route, call)
        return await self._led(route, call, lambda: self._act(route, call, sent), sent)

    # The steps

    def _read(self, route: Route, call: Call, *, last: bool) -> Response | Wait:
        """A handler that does not await: authorize, look into the cache, handle, wait or answer."""
        request = call.request
        if request.deadline is not None and not last:
            return self._read_woken(route, call)
        wait_s, min_index = self._common(route, request)
        if self._must_be_served_here(route, call) and not self._server.reads.immediate:
            wait = self._unconfirmed(request)
            if wait is not None:
                return wait
        self._authorize(route, call)
        if route.cache and not request.raw_query:
            return self._cached(route, call)
        return self._handle(route, call, wait_s, min_index if route.watch and not last else 0)

    def _handle(self, route: Route, call: Call, wait_s: float, min_index: int) -> Response | Wait:
        """The handler's answer, or a wait while it does not stand above `min_index`; 0 for none."""
        reply = answers.as_reply(route.handler(call))
        if min_index and (reply.index or 0) <= min_index:
            return Wait(self._watched(route), self._left(call.request, wait_s))
        return self._respond(call.request, reply)

    def _watched(self, route: Route) -> tuple[str, ...]:
        """The tables that wake a query; its rights too, so that a lost one ends it at once."""
        return tuple({table.name for table in (*route.watch, *RIGHTS_TABLES)})

    def _read_woken(self, route: Route, call: Call) -> Response | Wait:
        """The same for one who has waited, and so have others, maybe thousands, for the same."""
        request = call.request
        self._must_be_served_here(route, call)
        self._authorize(route, call)
        self._shared.move_to(self._server.tables.head, self._server.leadership.epoch)
        key = (route.path, call.tail, request.raw_query, call.secret, request.accepts_gzip)
        response = self._shared.get(key)
        if response is not None:
            self.answered += 1
            return response
        outcome = self._handle(route, call, *self._common(route, request))
        if isinstance(outcome, Wait):
            return outcome
        if len(outcome.body) <= PACK_NOW_LIMIT:
            answers.pack(request, outcome)
        self._shared.keep(key, outcome)
        return self._shared.get(key) or outcome

    async def _led(
        self, route: Route, call: Call, here: Callable[[], Awaitable[Response]], sent: Sent
    ) -> Response:
        """Answer here, or have it answered where it must be. While nobody can, it is held.

        What has certainly not been done is tried again: until the time is over when nobody led, but
        only once when who led could not commit.
        """
        request, now = call.request, self._server.clock.monotonic
        until, spare = now() + HOLD_S, request.method != "GET"
        while True:
            try:
                try:
                    return await here()
                except _NotLoaded:
                    await self._loaded(until)
                    continue
                except _NotHere:
                    return await self._sent_on(route, call, sent)
            except Error as error:
                if error.code is Code.UNAVAILABLE and spare:
                    spare = False
                elif error.code is not Code.NO_LEADER:
                    raise
                if _is_final(route, request, sent) or now() >= until:
                    raise
            await asyncio.sleep(PAUSE_S)
            await self._leader_known(until)

    async def _loaded(self, until: float) -> None:
        """Wait for memory to hold something. Raises Error(NO_LEADER) when the time is over."""
        try:
            async with timeout(max(0.0, until - self._server.clock.monotonic())):
                await self._server.mirror.loaded.wait()
        except TimeoutError:
            raise no_leader() from None

    async def _leader_known(self, until: float) -> None:
        """Wait for any server to lead. Raises Error(NO_LEADER) when the time is over."""
        try:
            async with timeout(max(0.0, until - self._server.clock.monotonic())):
                await self._server.leadership.wait_for_leader()
        except TimeoutError:
            raise no_leader() from None

    async def _read_waiting(self, route: Route, call: Call) -> Response:
        """The same read where it may have to wait, for a confirm or for a table."""
        last = False
        while True:
            outcome = self._read(route, call, last=last)
            if isinstance(outcome, Response):
                return outcome
            last = not await self._changed(outcome)

    async def _act(self, route: Route, call: Call, sent: Sent) -> Response:
        """A handler that awaits: find the leader, authorize, read, decode, handle, answer."""
        await self._admit(route, call)
        if await sent.take():
            await self._admit(route, call)  # who leads and what a token may do can have changed
        arguments = await self._checked_arguments(route, call, sent)
        reply = answers.as_reply(await route.handler(call, *arguments))
        response = self._respond(call.request, reply)
        for warning in call.warnings:
            response.headers.append((b"Warning", warning.encode("latin-1", "replace")))
        return response

    async def _admit(self, route: Route, call: Call) -> None:
        """Raise _NotHere when another server must answer, Error when the client may not ask this.

        It comes before the body: no memory and no parser for who may not write.
        """
        if route.serve is Serve.NAMED:
            self._must_be_meant(call.request)
        elif self._must_be_served_here(route, call) and route.method == "GET":
            await self._confirm(call.request)
        self._authorize(route, call)

    def _common(self, route: Route, request: Request) -> tuple[float, int]:
        """Seconds to wait and the index to wait for. Nomad: `wait` is looked at first."""
        wait_s, index = MAX_WAIT_S, 0
        if not request.raw_query or request.method != "GET" or not route.reads_wait:
            return wait_s, index
        if text := request.param("wait"):
            try:
                wait_s = min(parse_duration(text) / NS_PER_S, MAX_WAIT_S) or MAX_WAIT_S
            except ValueError:
                raise invalid("Invalid wait time") from None
        if text := request.param("index"):
            try:
                index = parse_uint(text, "")
            except Error:
                raise invalid("Invalid index") from None
        return max(wait_s, 0.0), index

    async def _checked_arguments(self, route: Route, call: Call, sent: Sent) -> tuple[Any, ...]:
        """What the handler gets beside the call. Nomad: the body is judged before parameters."""
        arguments = await self._decoded(route, call, sent.raw)
        if route.check is not None:
            route.check(call)
        return arguments

    async def _decoded(self, route: Route, call: Call, raw: bytes | None) -> tuple[Any, ...]:
        """The body as the handler wants it."""
        if route.body is None:
            return ()
        rules = route.body_rules
        if route.body is bytes:
            return (raw or b"",)
        if not raw and rules.optional:
            return (None,)
        try:
            decoded = await self._decode(route.body, raw)
        except DecodeError as error:
            raise Error(rules.code, f"{rules.prefix}{error}") from None
        if rules.strict and decoded.null:
            raise Error(rules.code, f"{rules.prefix}the body is null; send an object")
        if rules.strict and decoded.unknown and not decoded.known:
            known = ", ".join(field.encode_name for field in msgspec.structs.fields(route.body))
            raise Error(
                rules.code,
                f"{rules.prefix}no key of the body is known: {_listed(decoded.unknown)}; "
                f"known are {known}",
            )
        if decoded.unknown:
            call.warnings = (f'299 - "unknown keys ignored: {_listed(decoded.unknown)}"',)
        problem = getattr(decoded.value, "problem", None)
        wrong = problem() if problem is not None else None
        if wrong is not None:
            raise wrong
        return (decoded.value,)

    async def _decode(self, kind: type, raw: bytes | None) -> Decoded:
        if raw is None or len(raw) <= DECODE_NOW_LIMIT:
            return decode(kind, raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, decode, kind, raw)

    def _must_be_served_here(self, route: Route, call: Call) -> bool:
        """Raise _NotHere when another server must answer: another region, a leader, a name.

        Returns whether the truth is asked for, so that memory must be confirmed.
        """
        serve, request = route.serve, call.request
        if serve is Serve.LOCAL:
            return False
        if request.raw_query:
            if self._is_abroad(request):
                raise _NotHere
            if serve is Serve.LEADER_OR_STALE and call.stale:
                self._must_be_loaded()
                return False
        if not self._server.leadership.is_leader:
            self._must_be_confirmed(request)
        return True

    def _must_be_loaded(self) -> None:
        """Raise while memory is empty though this server is in a cluster."""
        if not self._server.mirror.loaded.is_set() and self._server.lifecycle.cluster is not None:
            raise _NotLoaded

    def _is_abroad(self, request: Request) -> bool:
        region = request.param("region")
        return bool(region) and region != self._server.settings.region

    def _must_be_confirmed(self, request: Request) -> None:
        """Of what this server does not lead it answers only what was confirmed while it did.

        Who waited for a table or a confirm meanwhile is told; who has just come goes elsewhere.
        """
        if request.deadline is not None:
            raise no_leader()
        if not request.round:
            raise _NotHere
        if not self._server.reads.is_confirmed(request.round):
            raise no_leader()

    def _unconfirmed(self, request: Request) -> Wait | None:
        """A wait for the confirm that makes memory true for this read; None when there was one."""
        reads = self._server.reads
        if not request.round:
            request.round = reads.ask()
            return Wait(reads.place, PATIENCE_S, brief=True)
        if not reads.is_confirmed(request.round):
            raise no_leader()
        return None

    async def _confirm(self, request: Request) -> None:
        """The same for a handler that awaits."""
        wait = None if self._server.reads.immediate else self._unconfirmed(request)
        if wait is not None:
            await self._changed(wait)
            self._unconfirmed(request)

    def _must_be_meant(self, request: Request) -> None:
        """Raise _NotHere when the request names another server, or another region."""
        named = not request.hops and self._server.forwarder.finds(request.param("server_id"))
        if named or self._is_abroad(request):
            raise _NotHere

    def stop(self) -> None:
        """Answer at once the blocking queries that wait at another server."""
        self._away.end()

    def close(self) -> None:
        """Let the threads go, and what still waits for one of them."""
        for workers in (self._decoders, self._packers):
            workers.shutdown(wait=False, cancel_futures=True)

    async def _sent_on(self, route: Route, call: Call, sent: Sent) -> Response:
        """The answer of the server that must give it."""
        if call.request.method == "GET" and call.request.param("index"):
            async with self._away.until_ended():
                return await self._sent_away(route, call, sent)
        return await self._sent_away(route, call, sent)

    async def _sent_away(self, route: Route, call: Call, sent: Sent) -> Response:
        request, forwarder = call.request, self._server.forwarder
        abroad = self._is_abroad(request)
        if request.hops == LAST_HOP:
            raise no_leader()
        if request.hops and abroad:
            raise refused("No path to region")
        if self._may_send(route, call):
            await sent.take()
            await self._checked_arguments(route, call, sent)  # what is wrong need not travel
        ask, rest = ask_of(request, sent), sent.chunks()
        if abroad:
            relayed = await forwarder.to_region(request.param("region"), ask, rest)
        elif route.serve is Serve.NAMED:
            relayed = await forwarder.to_server(request.param("server_id"), ask, rest)
        else:
            relayed = await forwarder.to_leader(ask, rest)
        self.answered += 1
        return response_of(relayed)

    def _authorize(self, route: Route, call: Call) -> None:
        """Resolve the token and check the declared right.

        Raises _NotLoaded while nobody can tell who may do what: memory is empty after a start.
        """
        if not route.token:
            call.rights = NOTHING
            return
        resolver = self._server.resolver
        if not resolver.enabled:
            call.rights = MANAGEMENT
        elif not resolver.is_known:
            raise _NotLoaded
        else:
            call.secret = secret_of(call.request)
            try:
                call.rights = call.resolve(call.secret)
            except Error as error:
                code = route.unknown_token if error.code is Code.DENIED else error.code
                raise Error(code, error.message) from None
        self._judge(route, call)

    def _judge(self, route: Route, call: Call) -> None:
        """Raise Error(DENIED) when the rights that were found do not reach."""
        if not call.rights.allows(route.need):
            raise denied()
        if route.admit is not None:
            route.admit(call)

    def _may_send(self, route: Route, call: Call) -> bool:
        """Whether this server's own copy lets the client do this; who leads decides again.

        A body from others goes on piece by piece: a copy may be behind, so it refuses nobody, and
        who may not write gets no memory here either. It cannot be sent a second time.
        """
        if not route.token:
            return True
        try:
            call.rights = self._server.resolver.resolve(secret_of(call.request))
            self._judge(route, call)
        except Error:
            return False
        return True

    def _left(self, request: Request, wait_s: float) -> float:
        """Seconds a blocking query still has; its deadline is set when it first waits."""
        now = self._server.clock.monotonic()
        if request.deadline is None:
            request.deadline = now + wait_s + self._server.clock.uniform(0.0, wait_s / JITTER)
        return max(0.0, request.deadline - now)

    async def _changed(self, wait: Wait) -> bool:
        """Wait for a table; False when the time is over."""
        return await self._server.waiting.changed(wait.tables, wait.seconds)

    # The answers

    def _cached(self, route: Route, call: Call) -> Response:
        """The encoded answer of a route whose body hangs on tables alone; the token was checked."""
        server = self._server
        cached = self._cache.get(route.path)
        if (
            cached is not None
            and cached.head is server.tables.head
            and cached.state[1] == server.leadership.epoch
        ):
            self.answered += 1
        else:
            cached = self._checked(route, call, cached)
        if not call.request.accepts_gzip:
            return cached.plain
        if cached.packed is None:
            plain = cached.plain
            cached.packed = answers.pack(
                call.request, Response(plain.status, list(plain.headers), plain.body)
            )
        return cached.packed

    def _checked(self, route: Route, call: Call, cached: _Cached | None) -> _Cached:
        """The cached answer if the last commits did not touch it, else a new one."""
        tables, leadership = self._server.tables, self._server.leadership
        state = (tables.version(*route.cache), leadership.epoch)
        if cached is None or cached.state != state:
            reply = answers.as_reply(route.handler(call))
            cached = _Cached(state, self._respond(call.request, reply))
            cached.plain.packed = True
            if leadership.is_leader:  # else it tells how old it may be, which changes
                self._cache[route.path] = cached
        else:
            self.answered += 1
        cached.head = tables.head
        return cached

    def _respond(self, request: Request, reply: Reply[Any]) -> Response:
        self.answered += 1
        body, headers = answers.encode(request, reply)
        if reply.index is not None:
            headers.append((b"X-Nomad-Index", b"%d" % reply.index))
        if reply.read:
            known, contact_ns = answers.contact(self._server)
            headers.append((b"X-Nomad-Knownleader", _TRUE if known else _FALSE))
            headers.append((b"X-Nomad-Lastcontact", b"%d" % (contact_ns // NS_PER_MS)))
        headers.extend((name.encode(), value.encode("latin-1")) for name, value in reply.headers)
        headers.extend(self._extra)
        packed = reply.stream is not None
        return Response(reply.status, headers, body, stream=reply.stream, packed=packed)

    def _refusal(self, request: Request, error: Error) -> Response:
        self.refused += 1
        status = STATUS[error.code]
        self._server.report(
            "request_refused",
            method=request.method,
            path=_masked(request, request.path),
            code=status,
            error=_masked(request, error.message),
            client=request.client,
        )
        headers: Headers = [answers.TEXT, *self._extra]
        if error.code in {Code.TOO_MANY, Code.NO_LEADER}:
            headers.append((b"Retry-After", b"10" if error.code is Code.TOO_MANY else b"1"))
        if error.code is Code.NO_LEADER and (reason := why_no_leader(self._server)):
            headers.append((b"X-Bellcow-Reason", reason.encode("ascii", "replace")))
        close = error.code in {Code.TIMEOUT, Code.TOO_LARGE}
        body = (_prefix(request, error) + _visible(error.message)).encode("utf-8", "replace")
        response = Response(status, headers, body, close=close)
        if error.code in {Code.NO_LEADER, Code.UNAVAILABLE}:
            response.undone = error
        return response

    def _failure(self, request: Request, error: Exception) -> Response:
        """A slip of ours: the log gets all of it, the client a sentence."""
        self.refused += 1
        self._server.report(
            "request_failed",
            method=request.method,
            path=_masked(request, request.path),
            exc_info=error,
        )
        body = b"internal error; the server's log has more"
        return Response(500, [answers.TEXT, *self._extra], body)

    def _wrong_method(self, sibling: Route) -> Response:
        self.refused += 1
        text = sibling.wrong_method_text.encode()
        headers = [answers.TEXT, *self._extra] if text else list(self._extra)
        return Response(sibling.wrong_method, headers, text)

    def _unknown_path(self, request: Request) -> Response:
        """404 without a body; a folder named without its slash is sent on to the one with it."""
        self.refused += 1
        if self._paths.is_folder(request.path):
            return answers.redirect(301, f"{request.path}/", request)
        return Response(404, [])


class _NotHere(Exception):
    pass


class _NotLoaded(_NotHere):
    pass


def _is_final(route: Route, request: Request, sent: Sent) -> bool:
    """Whether a refusal stands: who could try again is another, or there is nothing to try with."""
    waited = request.round or request.deadline is not None
    spent = sent.rest is not None and sent.rest.begun
    return route.serve is Serve.LOCAL or request.hops == LAST_HOP or bool(waited) or spent


def _sent(route: Route, call: Call) -> Sent:
    """The body, not touched yet: to be taken when it is one to decode, else read by the handler."""
    if not body_length(call.request):
        return Sent()
    rest = Rest(call.content)
    if route.body is not None:
        return Sent(rest, route.body_rules.limit)
    if call.request.method in {"GET", "DELETE"}:
        return Sent()  # Nomad: a body that nobody asked for is not looked at
    call.content = rest
    return Sent(rest)


def _prefix(request: Request, error: Error) -> str:
    """Nomad: a plain error of another server tells that it comes from one, but for snapshots."""
    crossed = request.hops and error.code is Code.REFUSED and request.path != SNAPSHOTS
    return "rpc error: " if crossed else ""


def _is_unclean(raw_path: bytes) -> bool:
    """Whether the path as sent holds `//`, `.` or `..`; it is never decoded twice."""
    if b"//" not in raw_path and b"/." not in raw_path:
        return False
    return any(part in {b"", b".", b".."} for part in raw_path[1:].rstrip(b"/").split(b"/")) or (
        raw_path.endswith(b"//")
    )


def _masked(request: Request, text: str) -> str:
    """A text for the log. Who takes a secret for its accessor shall not find it there."""
    shown = text[:LOGGED_CHARS]
    return _UUID.sub(r"\1-...", shown) if request.path.startswith("/v1/acl/token/") else shown


def _visible(message: str) -> str:
    """What a client sent comes back visibly and in part; the line ends of our own texts stay."""
    if len(message) > MESSAGE_CHARS:
        message = f"{message[:MESSAGE_CHARS]}..."
    if message.isprintable():
        return message
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in message
    )


def _listed(keys: tuple[str, ...]) -> str:
    text = ", ".join(keys)[:200].replace('"', "'")
    return "".join(char if char.isprintable() else "?" for char in text)
