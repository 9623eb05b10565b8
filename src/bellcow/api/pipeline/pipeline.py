"""The only path a request takes: find, lead, confirm, authorize, read, decode, handle, answer.

`answer_now` walks it without awaiting, for reads that memory can answer; `answer` walks the same
steps where something must be awaited, or another server asked. Both ask `consistency.decide` which
server answers, call the same handlers and build answers in one place.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bellcow.api.call import Call, Reply
from bellcow.api.message import Blocking, Confirming, Response, Wait
from bellcow.api.pipeline import answers
from bellcow.api.pipeline.authorize import authorize, may_send
from bellcow.api.pipeline.blocking import asked_wait, begun, watched
from bellcow.api.pipeline.body import Decoders, unread
from bellcow.api.pipeline.cache import EncodedAnswers, SharedAnswers
from bellcow.api.pipeline.consistency import (
    CONFIRM,
    PLAIN,
    SERVE,
    Decision,
    Forward,
    Refuse,
    as_error,
    decide,
    gather,
)
from bellcow.api.pipeline.refusal import masked, refusal, wrong_method
from bellcow.api.pipeline.relay import Sent, away, response_of, send
from bellcow.api.query import read_query
from bellcow.api.route import ROUTES, Paths, Route, Serve
from bellcow.deadline import timeout
from bellcow.errors import Code, Error, no_leader
from bellcow.events import Level
from bellcow.gocompat.duration import NS_PER_S, format_duration
from bellcow.model.forwarded import LAST_HOP
from bellcow.state.confirmed_reads import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bellcow.api.message import Body, Headers, Request
    from bellcow.api.pipeline.guards import Guards
    from bellcow.server import Server

PACK_NOW_LIMIT = 64 << 10  # bytes; bigger bodies are compressed in a thread
PACKERS = 4
HOLD_S = 5.0  # how long a request waits for a server that can serve it
PAUSE_S = 0.05  # between two tries meanwhile
NS_PER_MS = NS_PER_S // 1_000

_TRUE, _FALSE = b"true", b"false"
_DEBUG = Level.DEBUG  # looked up once: the enumeration is slow, and each request asks


class Pipeline:
    """Answers requests from a server's parts, by the declarations in `ROUTES`."""

    def __init__(self, server: Server, guards: Guards, routes: Sequence[Route] = ()) -> None:
        self._server = server
        self._log = server.facts.log
        self._guards = guards
        self._paths = Paths(list(routes) or ROUTES)
        self.add_headers(server.settings.http_api_response_headers)
        # Threads of their own: clients' large bodies never delay the files of this server.
        self._decoders = Decoders()
        self._packers = ThreadPoolExecutor(PACKERS, thread_name_prefix="pack")
        self._away = away()
        self.answered = 0
        self.refused = 0

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Set the headers that every answer carries from now on; those set before are dropped."""
        self._extra: Headers = [
            (name.encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()
        ]
        # Kept answers hold the headers of their time.
        self._encoded = EncodedAnswers()
        self._shared = SharedAnswers()

    def stop(self) -> None:
        """Answer at once the blocking queries that wait at another server."""
        self._away.end()

    def close(self) -> None:
        """End the threads. What still waits for one of them is cancelled."""
        self._decoders.close()
        self._packers.shutdown(wait=False, cancel_futures=True)

    # Entry points

    def answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        """The answer from memory, a wait, or None where something must be awaited."""
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
            path=masked(request, request.path),
            duration=format_duration(int(took_s * NS_PER_S)),
        )

    def _answer_now(self, request: Request, *, last: bool) -> Response | Wait | None:
        found = self._paths.find(request.path)
        if found is None:
            return None
        routes, tail = found
        route = routes.get(request.method)
        # Only a tail can be unclean: what is before it was found as it stands in the declaration.
        if route is None or route.awaits or (tail and answers.is_unclean(request.raw_path)):
            return None
        try:
            self._guards.check(request)
            outcome = self._read(route, Call(self._server, request, tail), last=last)
        except Exception as error:  # noqa: BLE001  the client gets a sentence, the log the rest
            return answers.pack(request, self._refusal(request, error))
        if not isinstance(outcome, Response):
            return outcome if isinstance(outcome, Wait) else None
        if not outcome.packed:
            if len(outcome.body) > PACK_NOW_LIMIT:
                return None
            answers.pack(request, outcome)
        self.answered += 1
        return outcome

    async def answer(self, request: Request, body: Body) -> Response:
        """Answer any request, awaiting what must be awaited."""
        request.began = request.began or time.perf_counter()
        try:
            response = await self._answer(request, body)
        except Exception as error:  # noqa: BLE001  the client gets a sentence, the log the rest
            response = self._refusal(request, error)
        if self._log.shows(_DEBUG):
            self._trace(request)
        if request.method == "HEAD":
            response.body = b""
        if len(response.body) > PACK_NOW_LIMIT and not response.packed:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._packers, answers.pack, request, response)
        return answers.pack(request, response)

    async def _answer(self, request: Request, content: Body) -> Response:
        if not request.hops:
            self._guards.check(request)
        if answers.is_unclean(request.raw_path):
            return answers.redirect(301, answers.cleaned(request.path), request)
        found = self._paths.find(request.path)
        if found is None:
            return self._unknown_path(request)
        route = found[0].get(request.method)
        if route is None:
            self.refused += 1
            return wrong_method(next(iter(found[0].values())), self._extra)
        call = Call(self._server, request, found[1])
        call.content = content
        response = await self._served(route, call)
        self.answered += 1
        return response

    def _refusal(self, request: Request, error: Exception) -> Response:
        self.refused += 1
        return refusal(self._server, request, error, self._extra)

    def _unknown_path(self, request: Request) -> Response:
        """404 without a body; a folder named without its slash is redirected to the one with it."""
        self.refused += 1
        if self._paths.is_folder(request.path):
            return answers.redirect(301, f"{request.path}/", request)
        return Response(404, [])

    # Which server answers

    def _decide(self, route: Route, call: Call) -> Decision:
        server, request = self._server, call.request
        plain = not request.raw_query and request.progress is None and not request.hops
        leadership, reads = server.leadership, server.reads
        leads = leadership.is_leader
        return decide(
            route,
            PLAIN if plain else gather(route, call),
            leads,
            not leads and reads.by_majority and leadership.follows,
            reads.immediate,
            server.mirror.loaded.is_set() or server.lifecycle.cluster is None,
        )

    async def _served(self, route: Route, call: Call) -> Response:
        """The answer of this server or of another one, held for at most HOLD_S without a leader.

        A request that certainly changed nothing is tried again: until the time is over when no
        server led, but only once when the leader could not commit.

        Raises:
            Error: the request is refused, or no leader was found in time.
        """
        request, now = call.request, self._server.clock.monotonic
        sent = Sent()
        if route.awaits:
            asked_wait(route, request)  # refuses what is malformed
            sent = unread(route, call)
        until, spare = now() + HOLD_S, request.method != "GET"
        while True:
            try:
                outcome = await self._tried(route, call, sent)
                if isinstance(outcome, Response):
                    return outcome
                if isinstance(outcome, Forward):
                    return await self._forwarded(outcome, route, call, sent)
                await self._wait_until(until, self._server.mirror.loaded.wait())
                continue
            except Error as error:
                if error.code is Code.UNAVAILABLE and spare:
                    spare = False
                elif error.code is not Code.NO_LEADER:
                    raise
                if _is_final(route, request, sent) or now() >= until:
                    raise
            await asyncio.sleep(PAUSE_S)
            await self._wait_until(until, self._server.leadership.wait_for_leader())

    async def _wait_until(self, until: float, awaited: Awaitable[object]) -> None:
        """Wait for a leader, or for memory.

        Raises:
            no_leader: the time is over.
        """
        try:
            async with timeout(max(0.0, until - self._server.clock.monotonic())):
                await awaited
        except TimeoutError:
            raise no_leader() from None

    async def _tried(self, route: Route, call: Call, sent: Sent) -> Response | Decision:
        """This server's answer, or the decision that keeps it from answering now."""
        if route.awaits:
            return await self._act(route, call, sent)
        last = False
        while True:
            outcome = self._read(route, call, last=last)
            if not isinstance(outcome, Wait):
                return outcome
            last = not await self._changed(outcome)

    async def _forwarded(self, to: Forward, route: Route, call: Call, sent: Sent) -> Response:
        """The answer of another server."""
        if call.request.method == "GET" and call.request.param("index"):
            async with self._away.until_ended():
                return await self._sent_to(to, route, call, sent)
        return await self._sent_to(to, route, call, sent)

    async def _sent_to(self, to: Forward, route: Route, call: Call, sent: Sent) -> Response:
        if may_send(route, call):
            await sent.take()
            await self._arguments(
                route, call, sent
            )  # a wrong body is refused here, not at the leader
        return response_of(await send(self._server.forwarder, to, call.request, sent))

    # The steps

    def _read(self, route: Route, call: Call, *, last: bool) -> Response | Wait | Decision:
        """A handler that does not await: decide, authorize, look into the cache, handle."""
        request, woken = call.request, None
        wait_s, index = 0.0, 0
        if request.raw_query:
            if isinstance(request.progress, Blocking) and not last:
                woken = request.progress
            else:
                wait_s, index = asked_wait(route, request)
        decision = self._decide(route, call)
        if decision is not SERVE:
            return self._held(decision, request)
        authorize(route, call)
        if woken is not None:
            return self._read_woken(route, call, woken)
        if route.cache and not request.raw_query:
            return self._encoded.find(route, self._server, request) or self._encoded.keep(
                route, self._server, request, self._handle(route, call)
            )
        if index and route.watch and not last:
            return self._block(route, call, index, wait_s)
        return self._handle(route, call)

    def _held(self, decision: Decision, request: Request) -> Wait | Decision:
        """A wait for the confirm, if that is it.

        Raises:
            Error: NO_LEADER or REFUSED, the decision is to refuse.
        """  # noqa: DOC501  made by `as_error`
        if isinstance(decision, Refuse):
            raise as_error(decision)
        return self._confirm(request) if decision is CONFIRM else decision

    def _confirm(self, request: Request) -> Wait:
        """A wait for the next round of confirmed reads.

        A leader that is cut off is replaced while it waits. A follower waits until there may be a
        new leader.
        """
        server, now = self._server, self._server.clock.monotonic()
        if isinstance(request.progress, Confirming):
            until = request.progress.until
        else:
            until = now + (PATIENCE_S if server.leadership.is_leader else HOLD_S)
        request.progress = Confirming(server.reads.ask(), until)
        return Wait(server.reads.waits_for, until - now, brief=True)

    def _handle(self, route: Route, call: Call) -> Response:
        return self._respond(call.request, answers.as_reply(route.handler(call)))

    def _block(self, route: Route, call: Call, index: int, wait_s: float) -> Response | Wait:
        """The handler's answer, or a wait while its index is not above `index`.

        The time to wait is counted from the first wait.
        """
        request, clock = call.request, self._server.clock
        reply = answers.as_reply(route.handler(call))
        if (reply.index or 0) > index:
            return self._respond(request, reply)
        progress = request.progress
        if not isinstance(progress, Blocking):
            progress = request.progress = begun(clock, index, wait_s)
        return Wait(watched(route), max(0.0, progress.until - clock.monotonic()))

    def _read_woken(self, route: Route, call: Call, woken: Blocking) -> Response | Wait:
        """The answer to a blocking query whose table changed; thousands may wait for the same."""
        request = call.request
        self._shared.move_to(self._server.tables.head, self._server.leadership.epoch)
        key = (route.path, call.tail, request.raw_query, call.secret, request.accepts_gzip)
        response = self._shared.get(key)
        if response is not None:
            return response
        outcome = self._block(route, call, woken.index, 0.0)
        if isinstance(outcome, Wait):
            return outcome
        if len(outcome.body) <= PACK_NOW_LIMIT:
            answers.pack(request, outcome)
        self._shared.keep(key, outcome)
        return self._shared.get(key) or outcome

    async def _act(self, route: Route, call: Call, sent: Sent) -> Response | Decision:
        """A handler that awaits: decide, authorize, read, decode, handle, answer."""
        decision = await self._admitted(route, call)
        if decision is SERVE and await sent.take():
            # Meanwhile another server may lead, and the token may have lost its rights.
            decision = await self._admitted(route, call)
        if decision is not SERVE:
            return decision
        arguments = await self._arguments(route, call, sent)
        reply = answers.as_reply(await route.handler(call, *arguments))
        response = self._respond(call.request, reply)
        for warning in call.warnings:
            response.headers.append((b"Warning", warning.encode("latin-1", "replace")))
        return response

    async def _admitted(self, route: Route, call: Call) -> Decision:
        """The decision; where it is to serve, the client's right is checked.

        Both come before the body: no memory and no parser for a client that may not write.
        """
        while isinstance(outcome := self._held(self._decide(route, call), call.request), Wait):
            await self._changed(outcome)
        if outcome is SERVE:
            authorize(route, call)
        return outcome

    async def _arguments(self, route: Route, call: Call, sent: Sent) -> tuple[Any, ...]:
        """The handler's arguments after the call. Nomad: the body is judged before parameters."""
        arguments = await self._decoders.arguments(route, call, sent.raw)
        if route.query:
            call.query = read_query(route.query, call.request)
        return arguments

    async def _changed(self, wait: Wait) -> bool:
        """Wait for a table or a confirm; False when the time is over."""
        return await self._server.waiting.changed(wait.tables, wait.seconds, is_request=True)

    def _respond(self, request: Request, reply: Reply[Any]) -> Response:
        body, headers = answers.encode(request, reply)
        if reply.index is not None:
            headers.append((b"X-Nomad-Index", b"%d" % reply.index))
        if reply.read:
            known, contact_ns = answers.contact(self._server, request)
            headers.append((b"X-Nomad-Knownleader", _TRUE if known else _FALSE))
            headers.append((b"X-Nomad-Lastcontact", b"%d" % (contact_ns // NS_PER_MS)))
        headers.extend((name.encode(), value.encode("latin-1")) for name, value in reply.headers)
        headers.extend(self._extra)
        packed = reply.stream is not None
        return Response(reply.status, headers, body, stream=reply.stream, packed=packed)


def _is_final(route: Route, request: Request, sent: Sent) -> bool:
    """Whether this server must not retry.

    On a local route, after the last hop, after a wait here, or with the body consumed.
    """
    spent = sent.rest is not None and sent.rest.begun
    return (
        route.serve is Serve.LOCAL
        or request.hops == LAST_HOP
        or request.progress is not None
        or spent
    )
