"""Rows of an archive: what the API would never have stored is refused, each kind by its rules."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.rows import ACCESSOR, TIME, token

from bellcow.acl.hashing import namespace_hash, policy_hash
from bellcow.gocompat.duration import Duration
from bellcow.license.signature import MAX_BYTES
from bellcow.model.acl import ACLBootstrap, ACLPolicy
from bellcow.model.agent import ClusterIdentity
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.license import StoredLicense, TemporaryLicense
from bellcow.model.namespace import Namespace
from bellcow.model.raft import RaftConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.snapshot.row_rules import RULES, problems
from bellcow.state.tables import REGISTRY, Deletion

INDEX = 100


def policy(**fields) -> ACLPolicy:
    row = ACLPolicy(
        **{"name": "reader", "rules": 'operator { policy = "read" }', "modify_index": 9, **fields}
    )
    return row if row.hash else msgspec.structs.replace(row, hash=policy_hash(row))


def namespace(**fields) -> Namespace:
    row = Namespace(**{"name": "default", **fields})
    return row if row.hash else msgspec.structs.replace(row, hash=namespace_hash(row))


LICENSE = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.e30.c2ln"
SOUND = [
    policy(),
    policy(rules="", description="d" * 256, create_index=3),
    token(),
    token(type="management", policies=None, global_=True),
    token(name="n" * 256),
    namespace(),
    namespace(hash=policy_hash(policy())),
    AutopilotConfiguration(max_trailing_logs=2**64 - 1, create_index=100, modify_index=100),
    SchedulerConfiguration(scheduler_algorithm="spread"),
    ACLBootstrap(accessor_id=ACCESSOR, reset_index=8),
    StoredLicense(blob=LICENSE),
    TemporaryLicense(start_time=TIME),
    Deletion(create_index=3, modify_index=100),
    RaftConfiguration(modify_index=7),
    ClusterIdentity(cluster_id="c", create_time="", region="global"),
]


@pytest.mark.parametrize("row", SOUND, ids=lambda row: type(row).__name__)
def test_row_that_the_api_stores_has_no_problem(row):
    assert list(problems(row, INDEX)) == []


WRONG = {
    "indexes above the archive's": (namespace(modify_index=101), "ModifyIndex 101"),
    "created after it was changed": (namespace(create_index=8, modify_index=7), "CreateIndex 8"),
    "indexes below zero": (namespace(create_index=-5, modify_index=-5), "CreateIndex -5"),
    "index that is no index": (policy(modify_index=2**64 - 1), "ModifyIndex 18446744073709551615"),
    "name of a policy": (policy(name="<script>"), "invalid name '<script>'"),
    "rules that nobody can read": (policy(rules="agent {"), "failed to parse rules: "),
    "description of a policy": (policy(description="d" * 257), "description longer than 256"),
    "hash of a policy": (policy(hash="<script>"), "hash is not that of"),
    "type of a token": (token(type="root"), "token type must be client or management"),
    "token without policies": (token(policies=()), "client token missing policies"),
    "name of a token": (token(name="n" * 257), "token name too long"),
    "accessor": (token(accessor_id="x"), "must be UUIDs"),
    "accessor in capitals": (token(accessor_id=ACCESSOR.upper()), "not in lower case"),
    "no accessor": (token(accessor_id=""), "the AccessorID is missing"),
    "secret": (token(secret_id="\x1b[31m"), "must be UUIDs"),
    "no secret": (token(secret_id=""), "the SecretID is missing"),
    "time of a token": (token(create_time="yesterday"), "CreateTime is no RFC 3339 time"),
    "day that is none": (token(create_time="2026-02-30T00:00:00Z"), "CreateTime is no RFC"),
    "time of another form": (token(create_time="2026-W48-1T00:00:00Z"), "CreateTime is no RFC"),
    "hash of a token": (token(hash="A" * 43 + "="), "hash is not that of"),
    "name of a namespace": (namespace(name="a b"), 'invalid name "a b"'),
    "description of a namespace": (namespace(description="d" * 257), "description longer"),
    "hash of a namespace": (namespace(hash="<script>"), "hash is not 32 bytes"),
    "no time to answer in": (
        AutopilotConfiguration(last_contact_threshold=Duration(-5)),
        "LastContactThreshold must be longer than zero",
    ),
    "no time to be stable in": (
        AutopilotConfiguration(server_stabilization_time=Duration(-1)),
        "ServerStabilizationTime must not be negative",
    ),
    "quorum below zero": (AutopilotConfiguration(min_quorum=-3), "MinQuorum must be from 0"),
    "logs beyond 64 bits": (
        AutopilotConfiguration(max_trailing_logs=2**64),
        "MaxTrailingLogs must be from 0",
    ),
    "algorithm": (
        SchedulerConfiguration(scheduler_algorithm="\x1b[31mbogus<script>"),
        "invalid scheduler algorithm: ",
    ),
    "nodes below zero": (
        SchedulerConfiguration(node_limit_for_feasibility_checks=-1),
        "NodeLimitForFeasibilityChecks must be from 0",
    ),
    "accessor of the bootstrap": (
        ACLBootstrap(accessor_id="", reset_index=8),
        "the AccessorID is no UUID",
    ),
    "reset index": (ACLBootstrap(accessor_id=ACCESSOR, reset_index=101), "ResetIndex 101"),
    "license that is none": (StoredLicense(blob="a.b"), "the text is not a license"),
    "license too large": (StoredLicense(blob="a" * (MAX_BYTES + 1)), "larger than 65536 bytes"),
    "beginning of a license": (TemporaryLicense(start_time="x"), "StartTime is no RFC 3339 time"),
}


@pytest.mark.parametrize(("row", "text"), WRONG.values(), ids=WRONG)
def test_row_that_the_api_would_refuse_is_a_problem(row, text):
    found = list(problems(row, INDEX))
    assert len(found) == 1
    assert text in found[0]


def test_each_kind_of_row_that_a_restore_brings_has_rules():
    kinds = {table.kind for table in REGISTRY.values()}
    # The first two are never taken from an archive, the third has indexes alone.
    assert kinds - set(RULES) == {RaftConfiguration, ClusterIdentity, Deletion}
