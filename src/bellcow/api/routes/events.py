"""/v1/event/stream: not built yet, refused with a sentence."""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route
from bellcow.errors import Code, Error

NO_STREAM = "the event stream is not supported yet; use blocking queries (?index=) to wait"


@route("GET", "/v1/event/stream", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
def read_events(call: Call) -> None:
    """Changes as they happen; not supported yet.

    Raises:
        Error: NOT_IMPLEMENTED, always.
    """
    del call
    raise Error(Code.NOT_IMPLEMENTED, NO_STREAM)
