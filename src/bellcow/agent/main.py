"""The life of the agent: from settings to a running server, and from a signal to a clean stop.

The steps of the start are in `start.py`, the background tasks in `running.py`, the stop in
`stop.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import bellcow
from bellcow.agent import banner
from bellcow.agent.build import Environment, build, facts_of
from bellcow.agent.exposure import report_exposure
from bellcow.agent.gauges import measure, measure_connections
from bellcow.agent.identity import itself_of
from bellcow.agent.listeners import http_limits, raise_file_limit, serve_peers
from bellcow.agent.log import Log
from bellcow.agent.reload import Reloader
from bellcow.agent.retry_join import JoinError, join_at_start
from bellcow.agent.running import running
from bellcow.agent.start import (
    StartError,
    bind_port,
    make_guards,
    make_metrics,
    make_security,
    make_storage,
    make_tls_context,
    open_data,
    open_log_file,
    open_syslog,
    refuse_if_cut_off,
)
from bellcow.agent.state_check import check_state
from bellcow.agent.stop import Stop
from bellcow.agent.threads import end_despite_threads
from bellcow.api.http.limits import Clients
from bellcow.api.http.server import serve
from bellcow.api.pipeline.pipeline import Pipeline
from bellcow.api.routes import catalog
from bellcow.clock import SystemClock
from bellcow.cluster.members.lookup import Lookups
from bellcow.cluster.transport.client import PeerClient
from bellcow.config.addresses import resolve_addresses
from bellcow.config.load import Loaded, load
from bellcow.config.peer_ports import listening
from bellcow.config.report import report as check
from bellcow.events import Level
from bellcow.state.tables import UnknownTableError
from bellcow.store.protocol import StoreError
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from bellcow.agent.metrics import Metrics
    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.config.addresses import Addresses
    from bellcow.server import Server

SWITCH_INTERVAL_S = 0.0005  # how often worker threads let the event loop run


def run(paths: Sequence[str], flags: dict[str, Any], dev: bool) -> int:
    """Run an agent until a signal ends it; returns the exit status."""
    if flags.pop("routes", False):
        banner.say(catalog.table())
        return 0
    loaded = load(paths, flags, dev=dev, environment=os.environ)
    said = check(loaded)
    banner.say(said.stderr, sys.stderr)
    banner.say(said.stdout)
    if not said.ok:
        return 1
    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            agent = _Agent(paths, flags, loaded)
            status = runner.run(agent.live())
            end_despite_threads(status, SystemClock(), agent.ends_at)
            return status
    except StartError as error:
        banner.say([f"==> {error}"], sys.stderr)
        return 1


def _new_loop() -> Any:
    try:
        import uvloop
    except ImportError:  # not available on every platform
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class _Agent:
    """One agent process."""

    def __init__(self, paths: Sequence[str], flags: dict[str, Any], loaded: Loaded) -> None:
        self._paths = paths
        self._flags = flags
        self._loaded = loaded
        self._settings = loaded.settings
        self._clock = SystemClock()
        self._log = Log(
            self._clock,
            Level[self._settings.log_level.upper()],
            as_json=self._settings.log_json,
        )
        self._clients = Clients(0)
        self._stop = asyncio.Event()
        self._ended_by = signal.SIGTERM
        self.ends_at = 0.0  # when the process must be gone; set by the stop
        self._workers = ThreadPoolExecutor(thread_name_prefix="work")

    async def live(self) -> int:
        """Start, run until a signal, stop.

        Raises:
            StartError: the server cannot start, or what it stored cannot be read.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        raise_file_limit()
        asyncio.get_running_loop().set_default_executor(self._workers)
        settings, clock, report = self._settings, self._clock, self._log.report
        addresses = listening(settings, resolve_addresses(settings, self._loaded.dev))
        self._log.write_to(file=open_log_file(settings, clock), syslog=open_syslog(settings))
        async with contextlib.AsyncExitStack() as stack:
            listener = bind_port(stack, "http", addresses.http_bind)
            between = bind_port(stack, "serf", addresses.serf_bind)
            folder, server_id = open_data(stack, settings, clock, report)
            itself = itself_of(settings, addresses, server_id)
            security = make_security(settings, addresses, folder)
            storage = await make_storage(
                settings, addresses, itself, security, folder, clock, report
            )
            if storage.store is not None:
                stack.push_async_callback(storage.store.close)
            metrics = make_metrics(settings, clock)
            transport = PeerClient(tls=security.call_with, names=security.gate.names)
            server = build(
                settings,
                itself=itself,
                storage=storage,
                folder=folder,
                environment=Environment(
                    clock=clock, transport=transport, lookup=Lookups().addresses, report=report
                ),
                facts=facts_of(self._loaded, addresses, self._log, metrics),
            )
            refuse_if_cut_off(server, clock)
            await stack.enter_async_context(transport)
            await self._run(server, metrics, security, addresses, listener, between)
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._log.report("stopped")
        self._log.close()
        return 0

    async def _run(
        self,
        server: Server,
        metrics: Metrics,
        security: PeerSecurity,
        addresses: Addresses,
        listener: socket.socket,
        between: socket.socket,
    ) -> None:
        """Start every task, answer until a signal, stop in the opposite order.

        Raises:
            StartError: a task of the server failed.
        """
        self._log.report("starting", version=bellcow.BUILD, pid=os.getpid())
        self._report_configuration()
        report_exposure(self._settings, addresses, security, self._log.report)
        pipeline = Pipeline(server, make_guards(server, addresses), catalog.routes())
        context = make_tls_context(self._settings)
        reloader = Reloader(
            self._paths,
            self._flags,
            self._loaded,
            log=self._log,
            metrics=metrics,
            server=server,
            pipeline=pipeline,
            security=security,
            context=context,
        )
        self._watch_signals(reloader, metrics)

        @contextlib.asynccontextmanager
        async def peer_port() -> AsyncIterator[None]:
            async with serve_peers(server, pipeline, security, between) as port:
                reloader.listens_between(port)
                yield

        failure = ""
        try:
            async with running(
                server,
                check=lambda server: check_state(self._loaded, server),
                peer_port=peer_port(),
                also={"metrics": metrics.run, "join": lambda: self._join(server)},
            ):
                measure(metrics, server, pipeline)
                measure_connections(metrics, self._clients)
                await self._answer(server, pipeline, reloader, context, addresses, listener)
        except* (StartError, StoreError, UnknownTableError) as group_error:
            failure = _first_text(group_error)
        if failure:  # raised within `except*`, Python 3.11.2 wraps it in another group
            raise StartError(failure)

    async def _answer(
        self,
        server: Server,
        pipeline: Pipeline,
        reloader: Reloader,
        context: ssl.SSLContext | None,
        addresses: Addresses,
        listener: socket.socket,
    ) -> None:
        """Answer the HTTP API until a signal, then stop answering."""
        async with serve(
            pipeline,
            [listener],
            ssl_context=context,
            limits=http_limits(self._settings.limits),
            clients=self._clients,
            waiting=server.waiting,
            log=self._log.report,
        ) as listening:
            reloader.listens(listening)
            self._announce(addresses, consensus=not server.lifecycle.is_alone)
            await self._stop.wait()
            self._log.report("stopping")
            stop = Stop(self._clock, etcd=not server.lifecycle.is_alone)
            self.ends_at = stop.ends_at
            await stop.leave(server, self._ended_by)
            await stop.hand_over(server)
            self._log.end_following()
            pipeline.stop()
            listening.graceful_s = stop.answer_s()
        pipeline.close()

    async def _join(self, server: Server) -> None:
        try:
            await join_at_start(self._settings, server.exchange, server.roster)
        except JoinError as error:
            raise StartError(str(error)) from None

    def _report_configuration(self) -> None:
        for note in self._loaded.notes:
            self._log.report("config_note", note=note)
        for change in self._loaded.changes:
            self._log.report("config_changed", change=change)

    def _announce(self, addresses: Addresses, *, consensus: bool) -> None:
        banner.say(
            banner.lines(self._settings, addresses, dev=self._loaded.dev, consensus=consensus)
        )
        self._log.report("started", address=join_host_port(addresses.http_bind))

    def _watch_signals(self, reloader: Reloader, metrics: Metrics) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, reloader.reload)
        loop.add_signal_handler(signal.SIGUSR1, lambda: banner.say(metrics.lines(), sys.stderr))
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _end(self, number: signal.Signals) -> None:
        self._ended_by = number
        self._stop.set()


def _first_text(group: BaseExceptionGroup[Exception]) -> str:
    """The text of the first exception of a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, StartError) else f"Error: {error}"
