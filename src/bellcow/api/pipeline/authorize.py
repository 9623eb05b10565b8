"""The token that a request carries, checked against the right that its route declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.acl.rights import MANAGEMENT, NOTHING
from bellcow.api.pipeline.guards import secret_of
from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from bellcow.api.call import Call
    from bellcow.api.route import Route


def authorize(route: Route, call: Call) -> None:
    """Resolve the token and check the declared right.

    Raises:
        Error: DENIED, the right is missing; the route's code, the token is unknown; TOO_MANY, after
            too many of those.
    """
    if not route.token:
        call.rights = NOTHING
        return
    if not call.server.resolver.enabled:
        call.rights = MANAGEMENT
    else:
        call.secret = secret_of(call.request)
        try:
            call.rights = call.resolve(call.secret)
        except Error as error:
            code = route.unknown_token if error.code is Code.DENIED else error.code
            raise Error(code, error.message) from None
    _check(route, call)


def may_send(route: Route, call: Call) -> bool:
    """Whether this server's own copy of the tokens lets the client do this.

    The copy may be behind, so it refuses nobody: the server that acts decides. Where it says no,
    the body takes no memory here: it is forwarded piece by piece and cannot be sent a second time.
    """
    if not route.token:
        return True
    try:
        call.rights = call.server.resolver.resolve(secret_of(call.request))
        _check(route, call)
    except Error:
        return False
    return True


def _check(route: Route, call: Call) -> None:
    """Check that the rights reach.

    Raises:
        denied: they do not.
    """
    if not call.rights.allows(route.need):
        raise denied()
    if route.admit is not None:
        route.admit(call)
