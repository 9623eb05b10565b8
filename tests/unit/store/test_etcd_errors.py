from __future__ import annotations

import pytest

from bellcow.store import protocol
from bellcow.store.etcd_errors import refusal

# gRPC's code, etcd's text, what a read gets, what a write gets.
ROWS = [
    ("UNAVAILABLE", "etcdserver: rpc not supported for learner", "Unavailable", "Unavailable"),
    ("UNAVAILABLE", "etcdserver: no leader", "Unavailable", "Unavailable"),
    ("UNAVAILABLE", "Socket closed", "Unavailable", "Unknown"),
    ("UNAVAILABLE", "etcdserver: request timed out", "Unavailable", "Unknown"),
    ("UNAVAILABLE", "etcdserver: leader changed", "Unavailable", "Unknown"),
    ("UNAVAILABLE", "", "Unavailable", "Unknown"),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", "Unavailable", "Unknown"),
    ("UNKNOWN", "what?", "Unavailable", "Unknown"),
    ("CANCELLED", "the call was ended", "Unavailable", "Unknown"),
    ("INTERNAL", "stream reset", "Unavailable", "Unknown"),
    ("A_NEW_CODE", "of a newer gRPC", "Unavailable", "Unknown"),
    (
        "FAILED_PRECONDITION",
        "etcdserver: can only promote a learner member which is in sync with leader",
        "Busy",
        "Busy",
    ),
    ("FAILED_PRECONDITION", "etcdserver: too many learner members in cluster", "Busy", "Busy"),
    ("FAILED_PRECONDITION", "etcdserver: not leader", "NotLeader", "NotLeader"),
    ("FAILED_PRECONDITION", "etcdserver: bad leader transferee", "Unavailable", "Unavailable"),
    ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", "NoSpace", "NoSpace"),
    ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", "Unavailable", "Unavailable"),
    (
        "RESOURCE_EXHAUSTED",
        "grpc: received message larger than max (9 vs. 8)",
        "TooLarge",
        "TooLarge",
    ),
    ("INVALID_ARGUMENT", "etcdserver: request is too large", "TooLarge", "TooLarge"),
    (
        "INVALID_ARGUMENT",
        "etcdserver: too many operations in txn request",
        "TooLarge",
        "TooLarge",
    ),
    ("NOT_FOUND", "etcdserver: member not found", "Unavailable", "Unavailable"),
    (
        "OUT_OF_RANGE",
        "etcdserver: mvcc: required revision has been compacted",
        "Unavailable",
        "Unavailable",
    ),
    ("DATA_LOSS", "etcdserver: corrupt cluster", "Corrupt", "Corrupt"),
]


@pytest.mark.parametrize(("code", "details", "read", "write"), ROWS)
def test_words_of_etcd_mean_one_thing(code, details, read, write):
    assert type(refusal(code, details, write=False)) is getattr(protocol, read)
    assert type(refusal(code, details, write=True)) is getattr(protocol, write)


@pytest.mark.parametrize("row", ROWS)
def test_clients_read_neither_etcds_nor_grpcs_words(row):
    code, details, _, _ = row
    for write in (False, True):
        told = refusal(code, details, write=write).for_clients
        assert told
        assert not any(word in told for word in ("etcd", "grpc", code, details) if word)


def test_text_names_the_code_and_what_etcd_said():
    assert str(refusal("UNKNOWN", "what?", write=True)) == "etcd: what? (UNKNOWN)"
    assert str(refusal("UNKNOWN", "", write=True)) == "etcd: no reason given (UNKNOWN)"


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("failed to connect to all addresses; last error: unix:/a/b", "it does not run"),
        ("recvmsg:Connection reset by peer", "it ended"),
        ("Socket closed", "it ended"),
        ("etcdserver: no leader", "etcdserver: no leader"),
        ("", "no reason given"),
    ],
)
def test_people_are_told_in_words_for_them(details, told):
    assert str(refusal("UNAVAILABLE", details, write=False)) == f"etcd: {told} (UNAVAILABLE)"
