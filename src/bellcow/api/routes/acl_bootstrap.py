"""/v1/acl/bootstrap: the first management token."""

from __future__ import annotations

import re
from typing import Any

from bellcow.acl import commands
from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import SMALL_LIMIT, BodyRules, Serve, route
from bellcow.api.routes.acl import BASE, must_be_on
from bellcow.api.routes.acl_tokens import written_token
from bellcow.clock import new_uuid
from bellcow.errors import invalid
from bellcow.gocompat.time import rfc3339
from bellcow.model.acl import ACLToken, ACLTokenReply
from bellcow.wire import UUID, Wire

RESET_FILE = "acl-bootstrap-reset"
RESET_DIGITS = 20
LEADING_NUMBER = re.compile(r"\+?([0-9]+)")


class BootstrapBody(Wire, frozen=True, kw_only=True):
    """The optional body of a bootstrap: the secret of the first token."""

    bootstrap_secret: str = ""


@route(
    "PUT, POST",
    f"{BASE}/bootstrap",
    need=Need.ANONYMOUS,
    serve=Serve.LEADER,
    token=False,
    body_rules=BodyRules(optional=True, limit=SMALL_LIMIT),
)
async def bootstrap(call: Call, body: BootstrapBody | None) -> Reply[ACLTokenReply]:
    """Make the first management token; once, and again only with the reset file in place.

    Raises:
        invalid: the wanted secret is no UUID, or the bootstrap is done already.
    """
    must_be_on(call)
    server = call.server
    secret = body.bootstrap_secret if body else ""
    if secret and not UUID.fullmatch(secret):
        raise invalid("invalid acl token")
    token = ACLToken(
        accessor_id=new_uuid(server.clock),
        secret_id=secret or new_uuid(server.clock),
        name="Bootstrap Token",
        type="management",
        global_=True,
        create_time=rfc3339(server.clock.wall_ns()),
    )
    reset = server.data_dir / RESET_FILE if server.data_dir else None
    made = await server.commit(commands.bootstrap(token, _reset_index(reset)))
    if reset is not None and reset.exists():
        reset.unlink()
        server.report("acl_bootstrap_reset", accessor=made.accessor_id)
    return written_token(made)


def _reset_index(path: Any) -> int | None:
    """The index in the reset file; None without one, and -1, which never fits, for no number.

    Nomad: the text after the number is ignored.
    """
    try:
        text = path.read_text("ascii", "replace").strip() if path else ""
    except FileNotFoundError:
        return None
    if not path:
        return None
    number = LEADING_NUMBER.match(text)
    return int(number[1]) if number and len(number[1]) <= RESET_DIGITS else -1
