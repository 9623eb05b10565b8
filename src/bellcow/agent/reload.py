"""SIGHUP: read the files again and take over what can change while running."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bellcow.agent.banner import say
from bellcow.api.tls import reload as reload_tls
from bellcow.config import model
from bellcow.config.load import Loaded, load
from bellcow.config.report import report as check
from bellcow.errors import Error
from bellcow.events import Level

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from bellcow.agent.log import Log

LIVE = ("log_level", "tls.ca_file", "tls.cert_file", "tls.key_file")


class Reloader:
    """Holds what is in force; `reload` replaces it, or keeps it whole when the files are bad."""

    def __init__(
        self,
        paths: Sequence[str],
        flags: dict[str, Any],
        loaded: Loaded,
        log: Log,
        context: ssl.SSLContext | None,
    ) -> None:
        self._paths = paths
        self._flags = flags
        self._loaded = loaded
        self._log = log
        self._context = context

    def reload(self) -> None:
        say(["==> Caught signal: hangup", "==> Reloading configuration..."])
        fresh = load(self._paths, self._flags, dev=self._loaded.dev, environment=os.environ)
        said = check(fresh)
        if not said.ok:
            reason = " ".join(said.stderr[:3])
            self._fail(reason)
            return
        if self._context is not None:
            tls = fresh.settings.tls
            try:
                reload_tls(self._context, tls.cert_file, tls.key_file, tls.ca_file)
            except Error as error:
                self._fail(error.message)
                return
        self._log.level = Level[fresh.settings.log_level.upper()]
        for path in changed(self._loaded, fresh):
            if path not in LIVE:
                self._log.report("restart_needed", setting=path)
        self._loaded = fresh
        self._log.report("reloaded", files=", ".join(fresh.files))

    def _fail(self, reason: str) -> None:
        say(["==> Failed to reload configs"])
        self._log.report("reload_failed", reason=reason)


def changed(old: Loaded, new: Loaded) -> list[str]:
    """The settings that differ, by path."""
    return [
        key.path
        for key in model.all_keys()
        if key.kind != "block"
        and model.get(old.settings, key.path) != model.get(new.settings, key.path)
    ]
