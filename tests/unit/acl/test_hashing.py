"""The hashes are those that the reference server gave for the same objects."""

from __future__ import annotations

import pytest

from bellcow.acl.hashing import namespace_hash, policy_hash, token_hash
from bellcow.model.acl import ACLPolicy, ACLToken
from bellcow.model.namespace import Namespace, NamespaceCapabilities

COMBO = """namespace "default" {
 policy = "read"
 capabilities = ["submit-job"]
}
node { policy = "write" }
agent { policy = "read" }
operator { policy = "write" }
quota { policy = "read" }
plugin { policy = "list" }
host_volume "*" { policy = "read" }"""

ANONYMOUS = 'operator { policy = "read" }\nagent { policy = "read" }\nnode { policy = "read" }'


@pytest.mark.parametrize(
    ("name", "description", "rules", "expected"),
    [
        (
            "opread",
            "operator read",
            'operator { policy = "read" }',
            "c7a0bfXrvDE783z3tsGBpkWUc+r3rYBvrrXbR9E4Xxc=",
        ),
        ("combo", "", COMBO, "ScQ1JIq/0KBXVR056y856UG761crdRX6nrpZfcTvr5g="),
        ("anonymous", "", ANONYMOUS, "x/5/vmxtVyy7xXjNjFBw9405OBd/jS4vl7Cqs5qOWGo="),
    ],
)
def test_policy_hashes_as_recorded(name, description, rules, expected):
    policy = ACLPolicy(name=name, description=description, rules=rules)
    assert policy_hash(policy) == expected


@pytest.mark.parametrize(
    ("name", "kind", "policies", "is_global", "expected"),
    [
        (
            "Bootstrap Token",
            "management",
            None,
            True,
            "BUJ3BerTfrqFVm1P+vZr1gz9ubOkd+JAvYjNAJyaU9Y=",
        ),
        ("opread", "client", ("opread",), False, "D7LRNaN9Foto5wj1FHKI161L7VrgDwbf4JoNXYEAKpc="),
        (
            "opdeny",
            "client",
            ("opdeny", "opwrite"),
            False,
            "KrMgi6dPVWt6H/UgIsmlKqdHgJql8IMwLxFz+0KOsWw=",
        ),
        (
            "again",
            "client",
            ("opread", "agentread"),
            False,
            "4hRD5uxNFrHPbqJmDX0POEBgw4XMDmZAuR/EJZjUYB4=",
        ),
        ("g", "management", None, True, "jW1JbQiX4N6yqb8G4QfSzRmrGIYHIqlfvMI7LqDP2PM="),
        ("later", "management", None, False, "smZWREYvGi9hvrC6JgcV5OL2OkR8pD3jf7ce16Geihc="),
    ],
)
def test_token_hashes_as_recorded(name, kind, policies, is_global, expected):
    token = ACLToken(name=name, type=kind, policies=policies, global_=is_global)
    assert token_hash(token) == expected


def test_a_secret_is_no_part_of_the_hash():
    plain = ACLToken(name="n", type="management")
    secret = ACLToken(name="n", type="management", secret_id="s", accessor_id="a")
    assert token_hash(plain) == token_hash(secret)


def test_namespace_hashes_as_recorded():
    namespace = Namespace(name="default", description="Default shared namespace")
    assert namespace_hash(namespace) == "C7UbjDwBK0dK8wQq7Izg7SJIzaV+lIo2X7wRtzY3pSw="


def test_text_that_is_no_unicode_still_hashes():
    assert len(policy_hash(ACLPolicy(name="\ud800"))) == 44


def test_namespace_hash_covers_all_that_a_client_may_set():
    """The first two as recorded; the others differ from them and from one another."""
    texts = {"name": "default", "description": "Default shared namespace"}
    plain = namespace_hash(Namespace(**texts))
    assert plain == "C7UbjDwBK0dK8wQq7Izg7SJIzaV+lIo2X7wRtzY3pSw="
    assert namespace_hash(Namespace(**texts, capabilities=NamespaceCapabilities())) == plain
    docker = NamespaceCapabilities(enabled_task_drivers=("docker",))
    hashes = {
        plain,
        namespace_hash(Namespace(**texts, capabilities=docker)),
        namespace_hash(Namespace(**texts, meta={"a": "b"})),
        namespace_hash(Namespace(**texts, meta={"a": "c"})),
    }
    assert len(hashes) == 4


def test_namespace_hash_does_not_hang_on_the_order_of_meta():
    first = Namespace(name="n", meta={"a": "1", "b": "2"})
    second = Namespace(name="n", meta={"b": "2", "a": "1"})
    assert namespace_hash(first) == namespace_hash(second)
