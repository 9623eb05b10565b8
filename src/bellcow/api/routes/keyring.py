"""The keys that sign workload identities and encrypt variables in later releases: there are none.

The keys between servers are in `agent.py`.
"""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route
from bellcow.errors import Code, Error

NO_KEYRING = (
    "there is no root keyring: this cluster signs no workload identities and keeps no variables"
)


@route("GET", "/.well-known/jwks.json", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
def list_public_keys(call: Call) -> dict[str, list[str]]:
    """The public keys of workload identities; there are none."""
    del call
    return {"keys": []}


@route(
    "GET, PUT, POST, DELETE",
    "/v1/operator/keyring/{action}",
    need=Need.ANONYMOUS,
    serve=Serve.LOCAL,
    token=False,
    documented=False,
)
def refuse_root_keyring(call: Call) -> None:
    """Say that there is no such keyring.

    Raises:
        Error: NOT_IMPLEMENTED, always.
    """
    del call
    raise Error(Code.NOT_IMPLEMENTED, NO_KEYRING)
