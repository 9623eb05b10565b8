"""Tokens against the rights that routes declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bellcow.acl.rights import MANAGEMENT, NOTHING, Need
from bellcow.api.call import Call
from bellcow.api.message import Request
from bellcow.api.pipeline.authorize import authorize, may_send
from bellcow.api.route import Route, Serve
from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from bellcow.acl.rights import Rights


class Site:
    """The parts of a server that know tokens. "root" may do everything, "" nothing."""

    def __init__(self, *, enabled: bool = True, patience: int = 1) -> None:
        self.resolver = self.bad_tokens = self
        self.enabled = enabled
        self._left = patience

    def resolve(self, secret: str) -> Rights:
        if secret not in {"", "root"}:
            raise denied("ACL token not found")
        return MANAGEMENT if secret else NOTHING

    def check(self, client: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise Error(Code.TOO_MANY, "too many")


def called(secret: str = "", **site: Any) -> Call:
    headers = [(b"x-nomad-token", secret.encode())] if secret else []
    return Call(Site(**site), Request("PUT", "/v1/x", b"/v1/x", b"", headers), "")  # type: ignore[arg-type]


def route(**declared: Any) -> Route:
    return Route(
        method="PUT",
        path="/v1/x",
        need=Need.OPERATOR_WRITE,
        serve=Serve.LEADER,
        handler=print,
        summary="",
        **declared,
    )


def refuse(call: Call) -> None:
    raise denied("not this one")


def test_right_of_the_token_is_compared_with_the_declared_one():
    call = called("root")
    authorize(route(), call)
    assert (call.rights, call.secret) == (MANAGEMENT, "root")
    with pytest.raises(Error, match="Permission denied"):
        authorize(route(), called())


def test_everything_is_allowed_with_acls_off_and_no_token_is_looked_at():
    call = called("unknown", enabled=False)
    authorize(route(), call)
    assert (call.rights, call.secret) == (MANAGEMENT, "")


def test_route_that_looks_at_no_token_gives_no_rights():
    call = called("root")
    authorize(route(token=False), call)
    assert call.rights is NOTHING


def test_unknown_token_is_refused_with_the_declared_code_and_too_many_are_held_off():
    for patience, code in ((1, Code.INVALID), (0, Code.TOO_MANY)):
        with pytest.raises(Error) as caught:
            authorize(route(unknown_token=Code.INVALID), called("x", patience=patience))
        assert caught.value.code is code


def test_route_may_refuse_a_token_that_has_the_right():
    with pytest.raises(Error, match="not this one"):
        authorize(route(admit=refuse), called("root"))
    assert not may_send(route(admit=refuse), called("root"))


def test_body_is_kept_only_for_a_client_that_may_write_by_our_copy():
    assert may_send(route(), called("root"))
    assert may_send(route(token=False), called())
    assert not may_send(route(), called())
    assert not may_send(route(), called("unknown", patience=0))
