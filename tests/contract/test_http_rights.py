"""With ACLs on: every route against every kind of token.

What each route needs is written down here once more, by hand, so that a slip in a declaration
shows.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.harness import Agent

from bellcow.api.routes.catalog import routes

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = "00000000-0000-0000-0000-000000000000"
NOT_FOUND = "ACL token not found"
DENIED = "Permission denied"

OPEN = "open to all, no token is looked at"
VALID = "any valid token or none"
SELF = "the token itself"

# Method and path: what it needs, and a body that does no harm.
ROUTES: dict[tuple[str, str], tuple[str, Any]] = {
    **{
        (method, "/"): (OPEN, None)
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
    },
    ("GET", "/ui/{name}"): (OPEN, None),
    ("HEAD", "/ui/{name}"): (OPEN, None),
    ("PUT", "/v1/acl/bootstrap"): (OPEN, None),
    ("POST", "/v1/acl/bootstrap"): (OPEN, None),
    ("GET", "/v1/acl/policies"): (VALID, None),
    ("GET", "/v1/acl/policy/{name}"): ("management", None),
    ("PUT", "/v1/acl/policy/{name}"): ("management", {"Name": "other"}),
    ("POST", "/v1/acl/policy/{name}"): ("management", {"Name": "other"}),
    ("DELETE", "/v1/acl/policy/{name}"): ("management", None),
    ("GET", "/v1/acl/tokens"): ("management", None),
    ("GET", "/v1/acl/token/self"): (SELF, None),
    ("GET", "/v1/acl/token/{accessor}"): ("management", None),
    ("PUT", "/v1/acl/token"): ("management", {}),
    ("POST", "/v1/acl/token"): ("management", {}),
    ("PUT", "/v1/acl/token/{accessor}"): ("management", {"AccessorID": "other"}),
    ("POST", "/v1/acl/token/{accessor}"): ("management", {"AccessorID": "other"}),
    ("DELETE", "/v1/acl/token/{accessor}"): ("management", None),
    ("GET", "/v1/agent/self"): ("agent:read", None),
    ("GET", "/v1/agent/members"): ("node:read", None),
    ("PUT", "/v1/agent/join"): ("agent:write", None),
    ("POST", "/v1/agent/join"): ("agent:write", None),
    ("PUT", "/v1/agent/force-leave"): ("agent:write", None),
    ("POST", "/v1/agent/force-leave"): ("agent:write", None),
    ("GET", "/v1/agent/servers"): (OPEN, None),
    ("PUT", "/v1/agent/servers"): (OPEN, None),
    ("POST", "/v1/agent/servers"): (OPEN, None),
    ("GET", "/v1/agent/health"): (OPEN, None),
    ("GET", "/v1/metrics"): (OPEN, None),
    ("GET", "/v1/agent/monitor"): ("agent:read", None),
    ("PUT", "/v1/agent/monitor"): ("agent:read", None),
    ("POST", "/v1/agent/monitor"): ("agent:read", None),
    ("DELETE", "/v1/agent/monitor"): ("agent:read", None),
    ("GET", "/v1/agent/keyring/list"): ("agent:write", None),
    ("PUT", "/v1/agent/keyring/{action}"): ("agent:write", {"Key": "x"}),
    ("POST", "/v1/agent/keyring/{action}"): ("agent:write", {"Key": "x"}),
    ("GET", "/v1/agent/host"): ("agent:read", None),
    ("GET", "/v1/agent/pprof/{profile}"): ("agent:write", None),
    ("GET", "/v1/allocations"): ("namespace", None),
    ("GET", "/v1/deployments"): ("namespace", None),
    ("GET", "/v1/evaluations"): ("namespace", None),
    ("GET", "/v1/jobs"): ("namespace", None),
    ("GET", "/v1/nodes"): ("node:read", None),
    ("GET", "/v1/scaling/policies"): ("namespace", None),
    ("GET", "/v1/volumes"): ("namespace", None),
    ("GET", "/v1/plugins"): ("plugin:list", None),
    ("GET", "/v1/job/{id}"): ("namespace", None),
    ("GET", "/v1/node/{id}"): ("node:read", None),
    ("GET", "/v1/allocation/{id}"): (VALID, None),
    ("GET", "/v1/evaluation/{id}"): ("namespace", None),
    ("GET", "/v1/deployment/{id}"): ("namespace", None),
    ("GET", "/v1/scaling/policy/{id}"): ("namespace", None),
    ("GET", "/v1/volume/csi/{id}"): ("namespace", None),
    ("GET", "/v1/plugin/csi/{id}"): ("plugin:read", None),
    ("GET", "/v1/event/stream"): (OPEN, None),
    ("GET", "/.well-known/jwks.json"): (OPEN, None),
    ("GET", "/v1/operator/keyring/{action}"): (OPEN, None),
    ("PUT", "/v1/operator/keyring/{action}"): (OPEN, None),
    ("POST", "/v1/operator/keyring/{action}"): (OPEN, None),
    ("DELETE", "/v1/operator/keyring/{action}"): (OPEN, None),
    ("PUT", "/v1/search"): ("search", {"Context": "all"}),
    ("POST", "/v1/search"): ("search", {"Context": "all"}),
    **dict.fromkeys(
        (
            (method, path)
            for path in (
                "/v1/allocation/{id}",
                "/v1/deployment/{id}",
                "/v1/job/{id}",
                "/v1/jobs",
                "/v1/jobs/parse",
                "/v1/node/{id}",
                "/v1/validate/job",
                "/v1/volumes",
            )
            for method in ("PUT", "POST")
        ),
        (OPEN, None),
    ),
    ("DELETE", "/v1/job/{id}"): (OPEN, None),
    ("PUT", "/v1/volume/csi/{id}"): (OPEN, None),
    ("DELETE", "/v1/volume/csi/{id}"): (OPEN, None),
    **dict.fromkeys(
        (
            (method, path)
            for path in (
                "/v1/quota",
                "/v1/quota-usages",
                "/v1/quota/{name}",
                "/v1/quotas",
                "/v1/recommendation",
                "/v1/recommendation/{id}",
                "/v1/recommendations",
                "/v1/recommendations/apply",
                "/v1/sentinel/policies",
                "/v1/sentinel/policy/{name}",
            )
            for method in ("GET", "PUT", "POST", "DELETE")
        ),
        (OPEN, None),
    ),
    ("GET", "/v1/namespaces"): (VALID, None),
    ("GET", "/v1/namespace/{name}"): ("namespace", None),
    ("PUT", "/v1/namespace"): ("management", {"Name": "a b"}),
    ("POST", "/v1/namespace"): ("management", {"Name": "a b"}),
    ("PUT", "/v1/namespace/{name}"): ("management", {"Name": "other"}),
    ("POST", "/v1/namespace/{name}"): ("management", {"Name": "other"}),
    ("DELETE", "/v1/namespace/{name}"): ("management", None),
    ("GET", "/v1/operator/raft/configuration*"): ("management", None),
    ("DELETE", "/v1/operator/raft/peer*"): ("management", None),
    ("PUT", "/v1/operator/raft/transfer-leadership"): ("management", None),
    ("POST", "/v1/operator/raft/transfer-leadership"): ("management", None),
    ("GET", "/v1/operator/raft/{rest}"): (OPEN, None),
    ("GET", "/v1/operator/autopilot/configuration"): ("operator:read", None),
    ("PUT", "/v1/operator/autopilot/configuration"): ("operator:write", {}),
    ("GET", "/v1/operator/autopilot/health"): ("operator:read", None),
    ("GET", "/v1/operator/scheduler/configuration"): ("operator:read", None),
    ("PUT", "/v1/operator/scheduler/configuration"): ("operator:write", {}),
    ("POST", "/v1/operator/scheduler/configuration"): ("operator:write", {}),
    ("GET", "/v1/operator/license"): ("license-read", None),
    ("PUT", "/v1/operator/license"): ("operator:write", b"blob"),
    ("GET", "/v1/operator/snapshot"): ("snapshot-save", None),
    ("PUT", "/v1/operator/snapshot"): ("management", b"no archive"),
    ("POST", "/v1/operator/snapshot"): ("management", b"no archive"),
    ("GET", "/v1/status/leader"): (OPEN, None),
    ("GET", "/v1/status/peers"): (OPEN, None),
    ("GET", "/v1/regions"): (OPEN, None),
    ("PUT", "/v1/system/gc"): ("management", None),
    ("PUT", "/v1/system/reconcile/summaries"): ("management", None),
}
# What stands for the end of a path that the client chooses.
TAILS = {
    "{name}": "default",
    "{accessor}": "11111111-1111-1111-1111-111111111111",
    "{action}": "install",
    "{id}": "12345678-abcd-efab-cdef-123456789abc",
    "{profile}": "cmdline",
    "{rest}": "zzz",
    "*": "",
}
SNAPSHOT = "/v1/operator/snapshot"

# Each policy with its rules, and what they open.
POLICIES: dict[str, tuple[str, set[str]]] = {
    "operator-read": ('operator { policy = "read" }', {"operator:read", "license-read"}),
    "operator-write": (
        'operator { policy = "write" }',
        {"operator:read", "operator:write", "license-read"},
    ),
    "operator-scale": ('operator { policy = "scale" }', set()),
    "operator-deny": ('operator { policy = "deny" }', set()),
    "snapshot-save": ('operator { capabilities = ["snapshot-save"] }', {"snapshot-save"}),
    "license-read": ('operator { capabilities = ["license-read"] }', {"license-read"}),
    "agent-read": ('agent { policy = "read" }', {"agent:read"}),
    "agent-write": ('agent { policy = "write" }', {"agent:read", "agent:write"}),
    "node-read": ('node { policy = "read" }', {"node:read", "search"}),
    "node-write": ('node { policy = "write" }', {"node:read", "search"}),
    "namespace-read": ('namespace "default" { policy = "read" }', {"namespace", "search"}),
    "namespace-write": ('namespace "default" { policy = "write" }', {"namespace", "search"}),
    "other-namespace": ('namespace "other" { policy = "write" }', set()),
    "quota-plugin": ('quota { policy = "write" } plugin { policy = "list" }', {"plugin:list"}),
    "empty": ("", set()),
}
EVERYTHING = {right for right, _ in ROUTES.values()} - {OPEN}
KINDS = [*POLICIES, "none", "unknown", "malformed", "deleted", "management", "two-policies"]


class Verdict(NamedTuple):
    status: int
    text: str


def ask(agent: Agent, method: str, path: str, body: Any, secret: str) -> Verdict:
    """The status, and the text of a refusal; what is streamed is not read."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)
    with contextlib.closing(connection):
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request(method, path, sent, {"X-Nomad-Token": secret} if secret else {})
        response = connection.getresponse()
        text = "" if response.status == 200 else response.read().decode()
        return Verdict(response.status, text)


def path_of(declared: str) -> str:
    for tail, value in TAILS.items():
        declared = declared.replace(tail, value)
    return declared


class Guarded:
    """A server with ACLs on, and the secrets of all kinds of token."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.root = agent.bootstrap()
        for name, (rules, _) in POLICIES.items():
            agent.put(f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules}, self.root)
        self.secrets = {name: self.token(name)["SecretID"] for name in POLICIES}
        gone = self.token("operator-write")
        agent.delete(f"/v1/acl/token/{gone['AccessorID']}", self.root)
        self.secrets |= {
            "none": "",
            "unknown": UNKNOWN,
            "malformed": "junk",
            "deleted": gone["SecretID"],
            "management": self.root,
            "two-policies": self.token("operator-read", "agent-write")["SecretID"],
        }

    def token(self, *policies: str) -> dict[str, Any]:
        body = {"Name": "t", "Type": "client", "Policies": list(policies)}
        made: dict[str, Any] = self.agent.put("/v1/acl/token", body, self.root).json()
        return made


SETTINGS = {"acl": {"enabled": True}, "limits": {"http_max_bad_tokens": 0}}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    with Agent(tmp_path_factory.mktemp("rights"), SETTINGS) as agent:
        yield Guarded(agent)


@pytest.fixture(scope="module")
def with_anonymous(tmp_path_factory) -> Iterator[Guarded]:
    """The same with a policy for requests without a token."""
    with Agent(tmp_path_factory.mktemp("anonymous"), SETTINGS) as agent:
        guarded = Guarded(agent)
        rules = POLICIES["operator-read"][0] + POLICIES["node-read"][0]
        body = {"Name": "anonymous", "Rules": rules}
        agent.put("/v1/acl/policy/anonymous", body, guarded.root)
        yield guarded


def rights_of(kind: str) -> set[str] | None:
    """What a kind of token may do; None where nobody has the token."""
    if kind in POLICIES:
        return POLICIES[kind][1] | {VALID, SELF}
    return {
        "none": {VALID},
        "management": EVERYTHING,
        "two-policies": {
            *(VALID, SELF),
            *POLICIES["operator-read"][1],
            *POLICIES["agent-write"][1],
        },
    }.get(kind)


def problem(right: str, path: str, held: set[str] | None, got: Verdict) -> str:
    """Why a verdict is wrong, "" when it is right."""
    refused = got.status == 403 or got.text in {DENIED, NOT_FOUND}
    if right == SELF and held is None:
        wrong = got != (404, NOT_FOUND)
    elif right == SELF and SELF not in held:
        wrong = got != (500, "acl token lookup failed: missing secret id")
    elif right == OPEN or (held is not None and right in held):
        wrong = refused and got.status != 404  # a management token may be told of another one
    elif held is None:
        wrong = got != (400 if path == SNAPSHOT else 403, NOT_FOUND)
    else:
        wrong = got != (403, DENIED)
    return f"{path}: {got}" if wrong else ""


def problems(guarded: Guarded, kind: str, held: set[str] | None) -> list[str]:
    out = []
    for (method, declared), (right, body) in ROUTES.items():
        path = path_of(declared)
        got = ask(guarded.agent, method, path, body, guarded.secrets[kind])
        if found := problem(right, path, held, got):
            out.append(f"{method} {found}")
    return out


def test_every_route_is_listed_here():
    assert {(route.method, route.path) for route in routes()} == set(ROUTES)


@pytest.mark.parametrize("kind", KINDS)
def test_token_opens_what_it_should_and_nothing_else(guarded, kind):
    assert problems(guarded, kind, rights_of(kind)) == []


@pytest.mark.parametrize("kind", ["none", "unknown", "empty", "agent-read", "management"])
def test_anonymous_policy_is_for_those_without_a_token_alone(with_anonymous, kind):
    held = rights_of(kind)
    if kind == "none":
        held = {VALID, *POLICIES["operator-read"][1], *POLICIES["node-read"][1]}
    assert problems(with_anonymous, kind, held) == []


def test_anonymous_policy_is_shown_to_those_without_a_token(with_anonymous):
    agent = with_anonymous.agent
    assert [each["Name"] for each in agent.get("/v1/acl/policies").json()] == ["anonymous"]
    assert agent.get("/v1/acl/policy/anonymous").status == 200
    assert agent.get("/v1/acl/policy/operator-read").status == 403


def test_unknown_policy_of_a_token_is_skipped(guarded):
    secret = guarded.token("nobody-wrote-this", "operator-read")["SecretID"]
    assert guarded.agent.get("/v1/operator/scheduler/configuration", secret).status == 200
    assert guarded.agent.get("/v1/agent/self", secret).status == 403


def test_deny_of_one_policy_beats_write_of_another(guarded):
    secret = guarded.token("operator-write", "operator-deny")["SecretID"]
    assert guarded.agent.get("/v1/operator/scheduler/configuration", secret).status == 403


def test_changed_policy_counts_at_once(guarded):
    agent, root = guarded.agent, guarded.root
    body = {"Name": "moving", "Rules": POLICIES["operator-read"][0]}
    agent.put("/v1/acl/policy/moving", body, root)
    secret = guarded.token("moving")["SecretID"]
    assert agent.get("/v1/operator/autopilot/configuration", secret).status == 200
    agent.put("/v1/acl/policy/moving", {**body, "Rules": POLICIES["agent-read"][0]}, root)
    assert agent.get("/v1/operator/autopilot/configuration", secret).status == 403
    assert agent.get("/v1/agent/self", secret).status == 200
    agent.delete("/v1/acl/policy/moving", root)
    assert agent.get("/v1/agent/self", secret).status == 403


def test_namespaces_are_listed_by_right(guarded):
    agent, root = guarded.agent, guarded.root
    agent.put("/v1/namespace", {"Name": "other"}, root)

    def names(secret: str) -> list[str]:
        return [each["Name"] for each in agent.get("/v1/namespaces", secret).json()]

    assert names(root) == ["default", "other"]
    assert names(guarded.secrets["namespace-read"]) == ["default"]
    assert names(guarded.secrets["other-namespace"]) == ["other"]
    assert names(guarded.secrets["operator-write"]) == []
    other = guarded.secrets["other-namespace"]
    assert agent.get("/v1/namespace/other", other).status == 200
    assert agent.get("/v1/namespace/default", other).status == 403
    assert agent.get("/v1/jobs?namespace=other", other).status == 200
    assert agent.get("/v1/jobs", other).status == 403


def test_token_may_read_itself_and_its_policies(guarded):
    agent = guarded.agent
    token = guarded.token("operator-read")
    secret = token["SecretID"]
    assert agent.get(f"/v1/acl/token/{token['AccessorID']}", secret).json() == token
    assert agent.get("/v1/acl/policy/operator-read", secret).status == 200
    assert agent.get("/v1/acl/policy/operator-write", secret).status == 403
    names = [each["Name"] for each in agent.get("/v1/acl/policies", secret).json()]
    assert names == ["operator-read"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_bearer_token_counts_as_the_header_does(guarded, scheme):
    headers = {"Authorization": f"{scheme} {guarded.root}"}
    assert guarded.agent.get("/v1/acl/tokens", headers=headers).status == 200
    both = {**headers, "X-Nomad-Token": guarded.root}
    assert guarded.agent.get("/v1/acl/tokens", headers=both).status == 200
    at_odds = {**headers, "X-Nomad-Token": guarded.secrets["empty"]}
    assert guarded.agent.get("/v1/acl/tokens", headers=at_odds).status == 403


def test_wrong_method_is_refused_before_the_token_is_checked(guarded):
    answer = guarded.agent.request("POST", "/v1/operator/license", b"x", UNKNOWN)
    assert (answer.status, answer.text) == (405, "Invalid method")


def test_token_is_looked_at_before_the_body_and_what_goes_with_it(guarded):
    agent = guarded.agent
    path = "/v1/operator/scheduler/configuration"
    answer = agent.put(path, b"{", UNKNOWN)
    assert (answer.status, answer.text) == (403, "ACL token not found")
    answer = agent.put(f"{path}?cas=x", b"{")
    assert (answer.status, answer.text) == (403, "Permission denied")
    answer = agent.put(path, b"{", guarded.root)
    assert answer.text == "Error parsing scheduler config: unexpected EOF"


def test_bad_times_of_a_read_are_refused_before_the_token_is_checked(guarded):
    agent = guarded.agent
    answer = agent.get("/v1/operator/raft/configuration?wait=x", UNKNOWN)
    assert (answer.status, answer.text) == (400, "Invalid wait time")


def test_too_many_unknown_tokens_from_one_address_are_held_off(start_agent):
    agent = start_agent({"acl": {"enabled": True}, "limits": {"http_max_bad_tokens": 5}})
    root = agent.bootstrap()
    statuses = [agent.get("/v1/agent/self", UNKNOWN).status for _ in range(8)]
    assert statuses == [403] * 5 + [429] * 3
    held_off = agent.get("/v1/agent/self", UNKNOWN)
    assert held_off.header("Retry-After") == "10"
    assert agent.get("/v1/agent/self", root).status == 200


def test_unknown_tokens_at_the_metrics_count_too(start_agent):
    settings = {
        "acl": {"enabled": True},
        "limits": {"http_max_bad_tokens": 5},
        "telemetry": {"metrics_require_token": True},
    }
    agent = start_agent(settings)
    statuses = [agent.get("/v1/metrics", UNKNOWN).status for _ in range(8)]
    assert statuses == [403] * 5 + [429] * 3
    assert agent.get("/v1/metrics", agent.bootstrap()).status == 200
    assert agent.stop() == 0
    assert "event=unknown_tokens count=8" in agent.log
