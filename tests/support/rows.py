"""Rows of an archive as the API would have stored them."""

from __future__ import annotations

import msgspec

from bellcow.acl.hashing import token_hash
from bellcow.model.acl import ACLToken

ACCESSOR = "0c1e7e0a-0000-4000-8000-00000000000a"


SECRET = "0C1E7E0A-0000-4000-8000-00000000000B"  # as it was given: in capitals too


TIME = "2026-11-23T14:00:32.498Z"


def token(**fields) -> ACLToken:
    sound = {
        "accessor_id": ACCESSOR,
        "secret_id": SECRET,
        "create_time": TIME,
        "type": "client",
        "policies": ("reader",),
    }
    row = ACLToken(**{**sound, **fields})
    return row if row.hash else msgspec.structs.replace(row, hash=token_hash(row))
