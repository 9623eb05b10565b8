from __future__ import annotations

import io

import msgspec
import pytest

from bellcow.cli.commands.operator.snapshot.redaction import redact, told
from bellcow.cli.shell.errors import CommandError
from bellcow.snapshot import archive
from bellcow.state.tables import REGISTRY

PEERS = (archive.Peer(id="s1", address="127.0.0.1:4647"),)
ORIGIN = archive.Origin(
    index=21,
    term=2,
    wall_ns=1795442432498000000,
    cluster_id="c",
    region="global",
    servers=PEERS,
    configuration_index=3,
)
EMPTY = msgspec.msgpack.encode({})


def archived(records: list[archive.Record]) -> io.BytesIO:
    out = io.BytesIO()
    archive.write(out, ORIGIN, records, io.BytesIO())
    out.seek(0)
    return out


def test_tokens_bootstrap_and_license_are_left_out_and_the_rest_stays() -> None:
    records = [(table, name, EMPTY) for table in sorted(REGISTRY) for name in ("a", "b")]
    out = io.BytesIO()
    left_out = redact(archived(records), out)
    out.seek(0)
    read = archive.read(out, io.BytesIO(), archive.Limit(1 << 20), set(REGISTRY))
    secret = {"acl_tokens", "acl_bootstrap", "license"}
    assert list(read.records()) == [record for record in records if record[0] not in secret]
    assert left_out == dict.fromkeys(secret, 2)
    assert archive.origin_of(read) == ORIGIN


def test_a_bad_archive_is_refused_without_the_words_about_a_restore() -> None:
    with pytest.raises(CommandError, match=r"^Error reading snapshot: failed to decompress"):
        redact(io.BytesIO(b"junk"), io.BytesIO())


def test_left_out_objects_are_listed_in_words() -> None:
    assert told({"acl_tokens": 3, "acl_bootstrap": 1, "license": 1}) == (
        "3 ACL tokens, the mark of the ACL bootstrap, the license"
    )
    assert told({"acl_tokens": 1}) == "1 ACL token"
    assert told({}) == "nothing: there was no secret in it"
