"""Paths of Nomad Enterprise alone: quotas, Sentinel, recommendations. All are refused."""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call  # noqa: TC001  route() reads the hints
from bellcow.api.route import Serve, route
from bellcow.errors import Code, Error

# Clients match on this text.
ENTERPRISE_ONLY = "Nomad Enterprise only endpoint"
METHODS = "GET, PUT, POST, DELETE"
PATHS = (
    "/v1/quota",
    "/v1/quota-usages",
    "/v1/quota/{name}",
    "/v1/quotas",
    "/v1/recommendation",
    "/v1/recommendation/{id}",
    "/v1/recommendations",
    "/v1/recommendations/apply",
    "/v1/sentinel/policies",
    "/v1/sentinel/policy/{name}",
)


def refuse_enterprise(call: Call) -> None:
    """Say that this is for Enterprise only. Nomad: to everyone, whatever the method.

    Raises:
        Error: NOT_IMPLEMENTED, always.
    """
    del call
    raise Error(Code.NOT_IMPLEMENTED, ENTERPRISE_ONLY)


for _path in PATHS:
    route(
        METHODS,
        _path,
        need=Need.ANONYMOUS,
        serve=Serve.LOCAL,
        token=False,
        wrong_method=501,
        wrong_method_text=ENTERPRISE_ONLY,
        documented=False,
    )(refuse_enterprise)
