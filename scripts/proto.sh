#!/usr/bin/env bash
# Writes src/bellcow/etcd/etcd_pb2.py and .pyi from etcd.proto. Run after every change of that file.
set -euo pipefail
cd "$(dirname "$0")/.."
proto=src/bellcow/etcd/etcd.proto
module=src/bellcow/etcd/etcd_pb2.py

.venv/bin/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src "$proto"
# A test compares this line with the file, so a change without a new run of this script is found.
sum="$(.venv/bin/python -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$proto")"
echo "# sha256 of etcd.proto: $sum" >>"$module"
