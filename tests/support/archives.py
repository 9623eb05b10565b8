"""A small archive as a server would send it."""

from __future__ import annotations

import base64
import hashlib
import io

import msgspec

from bellcow.acl.hashing import token_hash
from bellcow.model.acl import ACLToken
from bellcow.model.namespace import Namespace
from bellcow.snapshot import archive
from bellcow.wire import to_msgpack

PATH = "/v1/operator/snapshot"


SAVED_NS = 1795442432498 * 1_000_000


CLUSTER = "0c1e7e0a-0000-4000-8000-000000000001"


ACCESSOR = "0c1e7e0a-0000-4000-8000-00000000000a"


TOKEN = ACLToken(
    accessor_id=ACCESSOR,
    secret_id="0c1e7e0a-0000-4000-8000-00000000000b",
    create_time="2026-11-23T14:00:32.498Z",
    type="management",
)


TOKEN = msgspec.structs.replace(TOKEN, hash=token_hash(TOKEN))


def make_archive(*, tokens: bool = True) -> bytes:
    out, spool = io.BytesIO(), io.BytesIO()
    records = [("acl_tokens", ACCESSOR, to_msgpack(TOKEN))] if tokens else []
    records.append(("namespaces", "default", to_msgpack(Namespace(name="default"))))
    origin = archive.Origin(index=21, term=2, wall_ns=SAVED_NS, cluster_id=CLUSTER, region="global")
    archive.write(out, origin, records, spool)
    return out.getvalue()


ARCHIVE = make_archive()


def digest(data: bytes) -> dict[str, str]:
    return {"Digest": "sha-256=" + base64.b64encode(hashlib.sha256(data).digest()).decode()}
