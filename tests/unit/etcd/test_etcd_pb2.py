from __future__ import annotations

import hashlib
from pathlib import Path

import bellcow.etcd
from bellcow.etcd import etcd_pb2

FOLDER = Path(bellcow.etcd.__file__).parent


def test_generated_file_belongs_to_the_proto_beside_it():
    wanted = hashlib.sha256((FOLDER / "etcd.proto").read_bytes()).hexdigest()
    last_line = (FOLDER / "etcd_pb2.py").read_text().splitlines()[-1]
    assert last_line == f"# sha256 of etcd.proto: {wanted}", "run scripts/proto.sh"


def test_stubs_name_every_message():
    stubs = (FOLDER / "etcd_pb2.pyi").read_text()
    messages = etcd_pb2.DESCRIPTOR.message_types_by_name
    assert len(messages) > 30
    assert [name for name in messages if f"class {name}(" not in stubs] == []
