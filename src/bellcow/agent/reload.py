"""SIGHUP: reads the files again and applies the settings that can change while running."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bellcow.agent.banner import say
from bellcow.agent.listeners import http_limits, peer_limits
from bellcow.agent.peer_tls import reload_peer_tls
from bellcow.config.keys import all_keys, get_value, put_value
from bellcow.config.load import Loaded, load
from bellcow.config.report import report as check
from bellcow.config.tls import http_context
from bellcow.errors import Error
from bellcow.events import Level

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from bellcow.agent.log import Log
    from bellcow.agent.metrics import Metrics
    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.api.http.server import Listener
    from bellcow.api.pipeline.pipeline import Pipeline
    from bellcow.config import model
    from bellcow.server import Server

LIVE = (
    "http_api_response_headers",
    "limits.http_max_bad_tokens",
    "limits.http_max_conns_per_client",
    "limits.https_handshake_timeout",
    "limits.rpc_handshake_timeout",
    "limits.rpc_max_conns_per_client",
    "log_level",
    "server.heartbeat_grace",
    "server.max_heartbeats_per_second",
    "server.min_heartbeat_ttl",
    "telemetry.filter_default",
    "telemetry.prefix_filter",
    "tls.ca_file",
    "tls.cert_file",
    "tls.http",
    "tls.key_file",
    "tls.verify_https_client",
)
# A restart does not apply these either: they count only when a cluster forms.
FIRST_ONLY = {
    "autopilot.": "operator autopilot set-config",
    "server.default_scheduler_config.": "operator scheduler set-config",
}


class Reloader:
    """`reload` applies changed settings, or none of them when the files are wrong."""

    def __init__(
        self,
        paths: Sequence[str],
        flags: dict[str, Any],
        loaded: Loaded,
        *,
        log: Log,
        metrics: Metrics,
        server: Server,
        pipeline: Pipeline,
        security: PeerSecurity,
        context: ssl.SSLContext | None,
    ) -> None:
        self._paths = paths
        self._flags = flags
        self._loaded = loaded
        self._log = log
        self._metrics = metrics
        self._server = server
        self._pipeline = pipeline
        self._security = security
        self._context = context
        self._listener: Listener | None = None
        self._between: Listener | None = None

    def listens(self, listener: Listener) -> None:
        """Set the listener of the HTTP API, and apply earlier reloads to it."""
        self._listener = listener
        listener.reconfigure(http_limits(self._server.settings.limits), self._context)

    def listens_between(self, listener: Listener) -> None:
        """The same for the port between servers, whose certificates reload by themselves."""
        self._between = listener
        self._limit_servers(self._server.settings.limits)

    def _limit_servers(self, limits: model.Limits) -> None:
        if self._between is not None:
            self._between.reconfigure(peer_limits(limits), self._security.serve_with)

    def reload(self) -> None:
        say(["==> Caught signal: hangup", "==> Reloading configuration..."])
        fresh = load(self._paths, self._flags, dev=self._loaded.dev, environment=os.environ)
        said = check(fresh)
        if not said.ok:
            self._fail(_reason(said.stderr))
            return
        before = self._server.settings
        try:
            self._take_over(in_force(self._server.settings, fresh.settings))
        except Error as error:
            self._fail(error.message)
            return
        self._report_the_rest(fresh)
        self._loaded = fresh
        self._log.report(
            "reloaded",
            files=", ".join(fresh.files),
            changed=", ".join(changed(before, self._server.settings)) or "no setting",
        )

    def _take_over(self, settings: model.Settings) -> None:
        """Apply settings. Steps that may fail come first.

        Raises:
            Error: a setting is refused, and nothing has changed.
        """
        self._context = self._secured(settings.tls)
        self._server.current.settings = settings
        self._server.bad_tokens.limit = settings.limits.http_max_bad_tokens
        self._pipeline.add_headers(settings.http_api_response_headers)
        self._log.level = Level[settings.log_level.upper()]
        telemetry = settings.telemetry
        self._metrics.filter(telemetry.prefix_filter, default=telemetry.filter_default)
        if self._listener is not None:
            self._listener.reconfigure(http_limits(settings.limits), self._context)
        self._limit_servers(settings.limits)

    def _secured(self, tls: model.Tls) -> ssl.SSLContext | None:
        """The new context of the HTTP API. Also reloads the certificates between servers."""
        context = http_context(tls)
        kept = reload_peer_tls(self._security, tls)
        if kept:
            # The HTTP API has a new context without them. The contexts between servers stay.
            reason = f"authorities removed from it that servers still trust until then: {kept}"
            self._log.report("restart_needed", setting="tls.ca_file", reason=reason)
        return context

    def _report_the_rest(self, fresh: Loaded) -> None:
        """Report settings that changed since the last read and are not in force."""
        for path in changed(self._loaded.settings, fresh.settings):
            advice = next((FIRST_ONLY[block] for block in FIRST_ONLY if path.startswith(block)), "")
            if advice:
                note = f"{path} counts when a cluster forms; use `bellcow {advice}` on this one"
                self._log.report("config_note", note=note)
            elif get_value(self._server.settings, path) != get_value(fresh.settings, path):
                self._log.report("restart_needed", setting=path)

    def _fail(self, reason: str) -> None:
        say(["==> Failed to reload configs"])
        self._log.report("reload_failed", reason=reason)


def _reason(said: Sequence[str]) -> str:
    """The first errors among the lines that a start would print."""
    wrong = [line for line in said if not line.startswith("==> WARNING")]
    return " ".join(wrong[:3]).removeprefix("==> ")


def in_force(present: model.Settings, fresh: model.Settings) -> model.Settings:
    """The present settings, with the new values of those that can change while running."""
    for path in LIVE:
        present = put_value(present, path, get_value(fresh, path))
    return present


def changed(old: model.Settings, new: model.Settings) -> list[str]:
    """The paths of the settings that differ, without those that have no effect."""
    return [
        key.path
        for key in all_keys()
        if key.kind != "block"
        and key.priority not in {"L", "C"}
        and get_value(old, key.path) != get_value(new, key.path)
    ]
