"""The only place that knows etcd's words: its calls, its process and the guard over it."""

from __future__ import annotations

import os

# gRPC reads these when it is imported. It would hold up every start of a program of ours for a
# fork that never uses it, and write about that, past our log, to standard error.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
