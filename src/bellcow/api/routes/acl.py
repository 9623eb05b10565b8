"""What the routes below /v1/acl share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.route import BodyRules
from bellcow.errors import Code, invalid

if TYPE_CHECKING:
    from bellcow.api.call import Call

BASE = "/v1/acl"
# Nomad: a bad body is a plain failure here.
BODY = BodyRules(code=Code.REFUSED)


def must_be_on(call: Call) -> None:
    if not call.server.resolver.enabled:
        raise invalid("ACL support disabled")


def named(tail: str, missing: str) -> str:
    if not tail:
        raise invalid(missing)
    return tail
