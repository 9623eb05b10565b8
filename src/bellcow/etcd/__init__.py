"""etcd: its API, its process, and the watchdog that ends it."""

from __future__ import annotations

import os

# gRPC reads these when it is imported. Its support for forks, which bellcow does not need, would
# delay every start of a child process and write to standard error past our log.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
