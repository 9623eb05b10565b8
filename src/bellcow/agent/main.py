"""Life of the agent: from settings to a running server, and from a signal to a clean stop.

Every task that runs has its owner in `_live`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import bellcow
from bellcow.agent import banner
from bellcow.agent.build import build
from bellcow.agent.data_dir import DataDirectory
from bellcow.agent.data_dir_owner import DataDirectoryError
from bellcow.agent.gauges import measure, measure_connections
from bellcow.agent.identity import founder_of, itself_of
from bellcow.agent.listeners import http_limits, peer_limits, raise_file_limit
from bellcow.agent.log import Log
from bellcow.agent.log_outputs import SYSLOG_SOCKET, LogFile, Syslog, log_path
from bellcow.agent.metrics import Metrics
from bellcow.agent.peer_tls import PeerSecurity, keep_key, peer_security
from bellcow.agent.reload import Reloader
from bellcow.agent.retry_join import JoinError, join_at_start
from bellcow.agent.storage import Storage, StorageError, open_storage
from bellcow.agent.threads import end_despite_threads
from bellcow.api.http.limits import Clients
from bellcow.api.http.server import bind, serve
from bellcow.api.internal import forward, gate, lifecycle, peers, replication
from bellcow.api.pipeline.guards import Guards
from bellcow.api.pipeline.pipeline import Pipeline
from bellcow.api.routes import catalog
from bellcow.clock import SystemClock, new_uuid
from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.cluster.lifecycle.leave import leave
from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
from bellcow.cluster.members.notes import ACL_HINT
from bellcow.config.addresses import Addresses, resolve_addresses, this_machine
from bellcow.config.derive import server_directory
from bellcow.config.load import Loaded, load
from bellcow.config.peer_ports import are_open, hosts_of, is_loopback, listening, refusal
from bellcow.config.report import report as check
from bellcow.config.tls import http_context
from bellcow.deadline import timeout
from bellcow.errors import Error
from bellcow.events import Level
from bellcow.license.watch import LicenseWatch
from bellcow.state.tables import AUTOPILOT, CLUSTER, SCHEDULER, UnknownTableError
from bellcow.state.waiting import Waiting
from bellcow.store.protocol import StoreError
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

    from bellcow.api.http.server import Listener
    from bellcow.model.hello import Itself
    from bellcow.server import Server

STOP_S = 5.0  # from a signal to the end, whatever has to be waited for
CLOSE_S = 0.75  # of it to close connections and files
ETCD_S = 2.0  # of it for the same and for the member beside us, which is killed then
EXIT_S = 0.25  # of it for the end of the process itself
ANSWER_S = 0.5  # of it for what is being answered, at least
HAND_OVER_S = 1.0
SWITCH_INTERVAL_S = 0.0005  # worker threads give the loop its turn back this often


_BIND_ADVICE = {
    errno.EADDRINUSE: banner.port_taken,
    errno.EADDRNOTAVAIL: banner.not_an_address,
}


class StartError(Exception):
    """Why the agent does not start, as it is printed."""


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
    except ImportError:  # not made for every platform
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
        self._due = 0.0  # when the last answer must be given
        self.ends_at = 0.0  # when the process must be gone
        self._workers = ThreadPoolExecutor(thread_name_prefix="work")

    async def live(self) -> int:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        raise_file_limit()
        asyncio.get_running_loop().set_default_executor(self._workers)
        settings = self._settings
        addresses = listening(settings, resolve_addresses(settings, self._loaded.dev))
        self._open_log()
        async with contextlib.AsyncExitStack() as stack:
            listener = self._bind(stack, "http", addresses.http_bind)
            between = self._bind(stack, "serf", addresses.serf_bind)
            folder, server_id = self._open_data(stack)
            itself = itself_of(settings, addresses, server_id)
            security = self._security(addresses, folder)
            storage = await self._open_ground(addresses, itself, security, folder)
            if storage.store is not None:
                stack.push_async_callback(storage.store.close)
            metrics = self._metrics()
            server = build(
                self._loaded,
                addresses=addresses,
                itself=itself,
                storage=storage,
                security=security,
                folder=folder,
                clock=self._clock,
                log=self._log,
                metrics=metrics,
            )
            self._refuse_if_cut_off(server)
            await stack.enter_async_context(server.line)
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
        """Start every task, answer until a signal, stop in the opposite order."""
        self._log.report("starting", version=bellcow.BUILD, pid=os.getpid())
        self._report_configuration()
        if advice := self._peers_advice(addresses, security):
            self._log.report(
                "peers_unprotected",
                rpc=join_host_port(addresses.rpc_bind),
                serf=join_host_port(addresses.serf_bind),
                advice=advice,
            )
        if not self._settings.acl.enabled and not is_loopback(addresses.http_bind[0]):
            self._log.report(
                "api_open",
                address=join_host_port(addresses.http_bind),
                advice="acl { enabled = true }, or -bind=127.0.0.1",
            )
        pipeline = Pipeline(server, self._guards(server, addresses), catalog.routes())
        context = self._tls_context()
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
        failure = ""
        try:
            async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as ports:
                tasks = [group.create_task(server.mirror.run(), name="mirror")]
                if isinstance(server.lifecycle, EmbeddedLifecycle):
                    await self._loaded_state(server)
                else:
                    tasks.append(group.create_task(self._loaded_state(server), name="state"))
                reloader.listens_between(
                    await ports.enter_async_context(
                        self._between(server, pipeline, security, between)
                    )
                )
                loops = [
                    server.membership.run,
                    server.autopilot.run,
                    server.snapshots.housekeeping,
                    LicenseWatch(server.licenses, self._clock, self._log.report).run,
                ]
                tasks += [
                    group.create_task(server.reads.run(), name="reads"),
                    group.create_task(server.exchange.run(), name="hello"),
                    group.create_task(server.lifecycle.run(), name="lifecycle"),
                    group.create_task(server.leadership.run(loops), name="leadership"),
                    group.create_task(server.room.run(), name="room"),
                    group.create_task(metrics.run(), name="metrics"),
                    group.create_task(server.bad_tokens.run(self._log.report), name="tokens"),
                    group.create_task(self._join(server), name="join"),
                ]
                if isinstance(server.lifecycle, EmbeddedLifecycle):
                    await self._wait_for_leader(server)
                measure(metrics, server, pipeline)
                measure_connections(metrics, self._clients)
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
                    alone = isinstance(server.lifecycle, EmbeddedLifecycle)
                    self._announce(addresses, consensus=not alone)
                    await self._stop.wait()
                    self._log.report("stopping")
                    self.ends_at = self._clock.monotonic() + STOP_S - EXIT_S
                    self._due = self.ends_at - (CLOSE_S if alone else ETCD_S)
                    await self._leave(server)
                    await self._hand_over(server)
                    self._log.end_following()
                    pipeline.stop()
                    listening.graceful_s = max(ANSWER_S, self._left_s())
                pipeline.close()
                for task in tasks:
                    task.cancel()
        except* (StartError, StoreError, UnknownTableError) as group_error:
            failure = _first_text(group_error)
        if failure:  # raised within `except*`, Python 3.11.2 wraps it in another group
            raise StartError(failure)

    def _between(
        self, server: Server, pipeline: Pipeline, security: PeerSecurity, listener: socket.socket
    ) -> contextlib.AbstractAsyncContextManager[Listener]:
        """The port between servers, answering."""
        table = {
            **gate.routes(server.exchange, security.gate),
            **lifecycle.routes(server.lifecycle),
            **peers.routes(server.membership),
            **replication.routes(server.tables, server.mirror.ring, server.lifecycle.serves),
            **forward.routes(pipeline, security.gate),
        }
        return serve(
            gate.Internal(table, security.gate, self._clock, self._log.report),
            [listener],
            ssl_context=security.serve_with,
            limits=peer_limits(self._settings.limits),
            waiting=Waiting(),
            log=self._log.report,
            graceful_s=0.0,
        )

    def _left_s(self) -> float:
        return max(0.0, self._due - self._clock.monotonic())

    async def _leave(self, server: Server) -> None:
        """Leave the cluster for good, where the settings want that for this signal."""
        settings = server.settings
        interrupted = self._ended_by is signal.SIGINT
        if not (settings.leave_on_interrupt if interrupted else settings.leave_on_terminate):
            return
        self._log.report("leaving")
        try:
            await leave(
                roster=server.roster,
                exchange=server.exchange,
                lead=server.leadership,
                membership=server.membership,
                line=server.line,
                within_s=self._left_s() - ANSWER_S,
            )
        except Error as error:
            self._log.report("leave_refused", reason=error.message)

    async def _hand_over(self, server: Server) -> None:
        """Let another server lead before this one stops, so that nobody waits for an election."""
        if not server.leadership.is_leader:
            return
        with contextlib.suppress(Error, StoreError, TimeoutError):
            async with timeout(min(HAND_OVER_S, self._left_s() - ANSWER_S)):
                await server.membership.hand_on()

    # Steps of the start

    def _open_log(self) -> None:
        self._log.write_to(file=self._log_file(), syslog=self._open_syslog())

    def _log_file(self) -> LogFile | None:
        settings = self._settings
        if not settings.log_file:
            return None
        try:
            return LogFile(
                log_path(settings.log_file),
                self._clock,
                age_s=settings.log_rotate_duration.s,
                size=settings.log_rotate_bytes,
                kept=settings.log_rotate_max_files,
            )
        except OSError as error:
            reason = f"Error opening log file {settings.log_file}: {error.strerror}"
            raise StartError(reason) from None

    def _open_syslog(self) -> Syslog | None:
        if not self._settings.enable_syslog:
            return None
        try:
            return Syslog(self._settings.syslog_facility)
        except OSError as error:
            reason = f"Syslog setup failed: {SYSLOG_SOCKET}: {error.strerror}"
            advice = "start a syslog service, or set enable_syslog = false"
            raise StartError(f"{reason}; {advice}") from None

    def _bind(
        self, stack: contextlib.AsyncExitStack, name: str, address: tuple[str, int]
    ) -> socket.socket:
        """A listening socket of the port that the settings call `name`."""
        try:
            listener = bind(*address)
        except OSError as error:
            where = join_host_port(address)
            # A name that is not found has a number below zero, which is none of the system's.
            number = error.errno or 0
            named = os.strerror(number) if number > 0 else error.strerror or str(error)
            reason = named.lower()
            what = (
                "http server: failed to start HTTP" if name == "http" else "server: failed to start"
            )
            advice = _BIND_ADVICE.get(error.errno or 0)
            more = f"\n{advice(name, address)}" if advice else ""
            raise StartError(
                f"Error starting {what} listener: listen tcp {where}: bind: {reason}{more}"
            ) from None
        stack.callback(listener.close)
        return listener

    def _open_data(self, stack: contextlib.AsyncExitStack) -> tuple[Path | None, str]:
        """The locked data directory and the server's id; memory alone where there is none."""
        path = server_directory(self._settings)
        if path is None:
            return None, new_uuid(self._clock)
        try:
            data = DataDirectory(path, self._clock)
        except DataDirectoryError as error:
            raise StartError(f"Error starting agent: {error}") from None
        stack.callback(data.close)
        if data.above.closed:
            self._log.report("permissions_tightened", path=path.parent)
        if data.above.exposed:
            self._log.report("data_dir_exposed", path=path.parent, reason=data.above.exposed)
        if data.made_id:
            self._log.report("node_id_created", id=data.node_id)
        return data.path, data.node_id

    def _security(self, addresses: Addresses, folder: Path | None) -> PeerSecurity:
        hosts = hosts_of(addresses, this_machine(), os.uname().nodename)
        try:
            security = peer_security(self._settings, hosts, folder)
            keep_key(self._settings)
        except Error as error:
            raise StartError(f"Error starting agent: {error.message}") from None
        return security

    async def _open_ground(
        self,
        addresses: Addresses,
        itself: Itself,
        security: PeerSecurity,
        folder: Path | None,
    ) -> Storage:
        try:
            return await open_storage(
                self._settings,
                addresses,
                itself,
                security,
                folder,
                self._clock,
                self._log.report,
            )
        except StorageError as error:
            raise StartError(f"Error starting agent: {error}") from None

    def _refuse_if_cut_off(self, server: Server) -> None:
        """Its files may tell of others on other machines where its settings do not."""
        lifecycle, own = server.lifecycle, server.roster.itself.serf
        if not server.facts.closed_peers or not isinstance(lifecycle, ClusterLifecycle):
            return
        abroad = [at for at in lifecycle.known_addresses if at != own and not is_loopback(at[0])]
        if abroad:
            why = f"belongs to a cluster with {join_host_port(abroad[0])}"
            fresh = base64.b64encode(self._clock.random_bytes(32)).decode()
            raise StartError("Error starting agent: " + "\n    ".join(refusal(why, fresh)))

    async def _loaded_state(self, server: Server) -> None:
        """Wait for memory to hold the state, then compare it with the file."""
        await server.mirror.loaded.wait()
        cluster = server.tables.one(CLUSTER)
        if cluster is not None and cluster.region != self._settings.region:
            raise StartError(
                f"Error starting agent: the data directory belongs to a cluster of region "
                f'"{cluster.region}", this agent is configured for "{self._settings.region}"; '
                "use another data_dir, or restore a snapshot into a new cluster of that region"
            )
        self._warn_of_differences(server)
        if server.resolver.are_bootstrapped and not self._settings.acl.enabled:
            self._log.report(
                "acl_differs", setting="acl.enabled", file=False, cluster=True, hint=ACL_HINT
            )

    def _warn_of_differences(self, server: Server) -> None:
        """The file's autopilot and scheduler blocks count once in a cluster's life: say so."""
        founder = founder_of(self._settings, server.roster.itself)
        for block, table, mine in (
            ("autopilot", AUTOPILOT, founder.autopilot),
            ("default_scheduler_config", SCHEDULER, founder.scheduler),
        ):
            written = [p for p in self._loaded.origins if f"{block}." in p]
            stored: Any = server.tables.one(table)
            if not written or stored is None:
                continue
            for field in mine.__struct_fields__:
                ours, theirs = getattr(mine, field), getattr(stored, field)
                if field not in {"create_index", "modify_index"} and ours != theirs:
                    self._log.report(
                        "config_differs", setting=f"{block}.{field}", file=ours, cluster=theirs
                    )

    async def _join(self, server: Server) -> None:
        try:
            await join_at_start(self._settings, server.exchange, server.roster)
        except JoinError as error:
            raise StartError(str(error)) from None

    async def _wait_for_leader(self, server: Server) -> None:
        with contextlib.suppress(Error):
            await server.leadership.wait_for_leader()

    def _report_configuration(self) -> None:
        for note in self._loaded.notes:
            self._log.report("config_note", note=note)
        for change in self._loaded.changes:
            self._log.report("config_changed", change=change)

    def _peers_advice(self, addresses: Addresses, security: PeerSecurity) -> str:
        """What closes the ports between servers, "" where nobody but servers is let in."""
        if are_open(self._settings, addresses):
            return "set encrypt on all servers, or tls { rpc = true }"
        local = is_loopback(addresses.rpc_bind[0]) and is_loopback(addresses.serf_bind[0])
        if security.gate.proves or local:
            return ""
        return "set tls { verify_server_hostname = true }: any certificate of ca_file is let in now"

    def _metrics(self) -> Metrics:
        telemetry = self._settings.telemetry
        host = "" if telemetry.disable_hostname else os.uname().nodename
        return Metrics(
            self._clock,
            host=self._settings.name if telemetry.use_node_name else host,
            prometheus=telemetry.prometheus_metrics,
            filters=telemetry.prefix_filter,
            filter_default=telemetry.filter_default,
        )

    def _guards(self, server: Server, addresses: Addresses) -> Guards:
        itself = server.roster.itself
        names = {itself.name, itself.member_name, addresses.http_adv[0]}
        host = addresses.http_bind[0]
        return Guards(
            loopback_only=host.startswith("127.") or host in {"::1", "localhost"},
            names=names | set(self._settings.http_allowed_hosts),
        )

    def _tls_context(self) -> ssl.SSLContext | None:
        try:
            return http_context(self._settings.tls)
        except Error as error:
            raise StartError(f"Error starting http server: {error.message}") from None

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
    """What the first failure of a group of tasks has to say."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, StartError) else f"Error: {error}"
