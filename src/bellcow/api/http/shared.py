"""What the connections of one server share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bellcow.api.http.render import plain, render
from bellcow.throttle import Throttle

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from bellcow.api.http.limits import Clients, HttpLimits
    from bellcow.api.message import App, Request, Response, Wait
    from bellcow.events import Report
    from bellcow.state.waiting import Waiting

# Mistakes of clients are logged once a second an address, and for so many addresses.
_LOG_EVERY_S: Final = 1.0
_LOG_ADDRESSES: Final = 100


class Shared:
    """App, limits, counts and log of one server."""

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
        self._throttle = Throttle(_LOG_EVERY_S, _LOG_ADDRESSES, drop_when_full=True)
        self.limit(limits)

    def limit(self, limits: HttpLimits) -> None:
        """Replace the limits from now on."""
        self.limits = limits
        self.clients.limit = limits.connections_per_client
        self.clients.total = limits.connections

    def log_mistake(self, event: str, /, *, client: str, key: str = "", **fields: object) -> None:
        """Log a client's mistake, at most once a second for each event and `key` (or `client`).

        The field `more` counts those that were not logged since the last one.
        """
        now = asyncio.get_running_loop().time()
        unlogged = self._throttle.held_back((event, key or client), now)
        if unlogged is None:
            return
        if unlogged:
            fields["more"] = unlogged
        self.log(event, client=client, **fields)

    def ask(self, request: Request, *, last: bool) -> Response | Wait | None:
        """Ask the app (`App.answer_now`); a plain 500 if that fails."""
        try:
            return self.app.answer_now(request, last=last)
        except Exception as fault:  # noqa: BLE001  one request may not end the connection's others
            self.log("http_request_failed", path=request.path, exc_info=fault)
            return plain(500, "Internal Server Error")

    def render(
        self, response: Response, *, head: bool = False, old: bool = False, close: bool
    ) -> bytes:
        """The bytes of an answer (`render.render`); of a plain 500 if it cannot be written."""
        date = self.state.default_headers[0][1]
        usual = not (head or old or close)
        if usual and response.date is date:
            return response.rendered
        try:
            rendered = render(response, date, head=head, old=old, close=close)
        except (ValueError, KeyError, TypeError) as fault:
            self.log("http_answer_malformed", exc_info=fault)
            response.stream = None
            return render(
                plain(500, "Internal Server Error"), date, head=head, old=old, close=close
            )
        if usual and response.lines is not None:  # it may be sent again within this second
            response.date, response.rendered = date, rendered
        return rendered
