"""The command line of a member, made from a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from bellcow.etcd.version import CannotRun, Version

DATA = "data"
SOCKET = "client.sock:0"  # etcd makes the name of the file from host and port
HEARTBEAT_MS = 100
ELECTION_MS = 1_000
LEARNERS = 7
QUOTA_BYTES = 8 << 30  # of the store; the largest that etcd recommends


class Founding(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a member's first start."""

    state: Literal["new", "existing"]
    members: tuple[tuple[str, str], ...]  # name and address of each, this one included
    token: str  # members with different tokens refuse each other's connections


class PeerTls(msgspec.Struct, frozen=True, kw_only=True):
    """Files for mutual TLS between members. Each certificate must be for `name`, if there is one.

    Paths are absolute, because etcd has a working directory of its own. With `any_source` a member
    may connect from an address that its certificate does not name, such as a new or translated one.
    """

    cert_file: str
    key_file: str
    ca_file: str
    name: str = ""
    any_source: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a member. Addresses are `ip:port`."""

    server_id: str
    directory: Path
    program: str
    version: Version
    bind: str
    advertise: str
    founding: Founding | None = None  # needed while the directory is empty
    raft_multiplier: int = 1
    tls: PeerTls | None = None
    # Drop all other members. Only for a temporary copy, never for the real directory.
    alone: bool = False


def scheme(plan: Plan) -> str:
    return "https" if plan.tls else "http"


def has_data(plan: Plan) -> bool:
    """Whether etcd will continue with existing data. It decides by the files of its log."""
    return any((plan.directory / DATA / "member" / "wal").glob("*.wal"))


def command_line(plan: Plan) -> list[str]:
    """Program and flags.

    Without data and without a founding etcd would found a cluster of one, and answer as if it were
    this cluster.

    Raises:
        CannotRun: there is neither data nor a founding.
    """
    return [
        plan.program,
        *_who(plan),
        *([] if has_data(plan) else _first_start(plan)),
        *_timing(plan),
        *_limits(plan),
        *_tls(plan.tls, plan.version),
        *(["--force-new-cluster"] if plan.alone else []),
    ]


def _who(plan: Plan) -> list[str]:
    own = f"{scheme(plan)}://"
    return [
        f"--name={plan.server_id}",
        f"--data-dir={DATA}",
        "--listen-client-urls=unix://client.sock:0",
        "--advertise-client-urls=unix://client.sock:0",
        f"--listen-peer-urls={own}{plan.bind}",
        f"--initial-advertise-peer-urls={own}{plan.advertise}",
    ]


def _first_start(plan: Plan) -> list[str]:
    founding = plan.founding
    if founding is None:
        raise CannotRun(
            f"{plan.directory} holds no data and no cluster is known to start it in: "
            "this server must join again"
        )
    members = ",".join(f"{name}={scheme(plan)}://{address}" for name, address in founding.members)
    return [
        f"--initial-cluster={members}",
        f"--initial-cluster-state={founding.state}",
        f"--initial-cluster-token={founding.token}",
    ]


def _timing(plan: Plan) -> list[str]:
    return [
        f"--heartbeat-interval={HEARTBEAT_MS * plan.raft_multiplier}",
        f"--election-timeout={ELECTION_MS * plan.raft_multiplier}",
        "--pre-vote",
        # bellcow checks the quorum itself; etcd's check would refuse to replace a dead voter.
        "--strict-reconfig-check=false",
    ]


def _limits(plan: Plan) -> list[str]:
    limits = [
        "--snapshot-count=10000",
        f"--quota-backend-bytes={QUOTA_BYTES}",
        "--max-txn-ops=8192",
        "--max-request-bytes=10485760",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1m",
        "--logger=zap",
        "--log-outputs=stderr",
        "--log-level=warn",
    ]
    if plan.version >= (3, 6, 0):
        limits.append(f"--max-learners={LEARNERS}")
    return limits


def _tls(tls: PeerTls | None, version: Version) -> list[str]:
    if tls is None:
        return []
    words = [
        f"--peer-cert-file={tls.cert_file}",
        f"--peer-key-file={tls.key_file}",
        f"--peer-trusted-ca-file={tls.ca_file}",
        "--peer-client-cert-auth",
    ]
    if tls.name:
        words.append(f"--peer-cert-allowed-hostname={tls.name}")
    if tls.any_source:
        stage = "" if version >= (3, 6, 0) else "experimental-"
        words.append(f"--{stage}peer-skip-client-san-verification")
    return words
