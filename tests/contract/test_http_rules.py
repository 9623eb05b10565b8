"""Rules that all endpoints share: paths, parameters, indexes, pretty printing, what is redacted;
and the rules of tokens that no recording shows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

RAFT = "/v1/operator/raft/configuration"
AUTOPILOT = "/v1/operator/autopilot/configuration"
SCHEDULER = "/v1/operator/scheduler/configuration"
LICENSE = "/v1/operator/license"
READ = 'operator { policy = "read" }'


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Agent]:
    """A server without ACLs."""
    with Agent(tmp_path_factory.mktemp("shared")) as agent:
        yield agent


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[tuple[Agent, str]]:
    """A server with ACLs, and its management token."""
    with Agent(tmp_path_factory.mktemp("guarded"), {"acl": {"enabled": True}}) as agent:
        root = agent.bootstrap()
        agent.put("/v1/acl/policy/read", {"Name": "read", "Rules": READ}, root)
        yield agent, root


def last_index(agent: Agent) -> int:
    return int(agent.get("/v1/agent/self").json()["stats"]["raft"]["last_log_index"])


# Paths


def test_root_leads_to_the_page(shared):
    answer = shared.get("/")
    assert (answer.status, answer.header("Location")) == (307, "/ui/")


@pytest.mark.parametrize(
    "path",
    [
        "/V1/operator/raft/configuration",
        "/v1/Operator/raft/configuration",
        "/v1/operator/scheduler/Configuration",
        "/v1/operator/autopilot/health/x",
        "/v1/operator/license/x",
        "/v1/operator/snapshot/",
        "/v1/status",
        "/v1/acl",
        "/v1",
        "/v2/status/leader",
    ],
)
def test_unknown_path_is_404_without_body_or_content_type(shared, path):
    answer = shared.get(path)
    assert (answer.status, answer.body) == (404, b"")
    assert answer.header("Content-Type") is None


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//v1/status/leader", "/v1/status/leader"),
        ("/v1//status/leader", "/v1/status/leader"),
        ("/v1/./status/leader", "/v1/status/leader"),
        ("/v1/acl/../status/leader", "/v1/status/leader"),
        ("/v1//status/leader?stale&region=global", "/v1/status/leader?stale&region=global"),
    ],
)
def test_unclean_path_leads_to_the_clean_one_with_its_query(shared, path, clean):
    answer = shared.get(path)
    assert (answer.status, answer.header("Location")) == (301, clean)


def test_encoded_path_is_decoded_once(shared):
    assert shared.get("/v1%2Fstatus%2Fleader").json() == shared.get("/v1/status/leader").json()
    assert shared.get("/v1%252Fstatus%252Fleader").status == 404


# Parameters


def test_parameter_names_are_case_sensitive(shared):
    for query in ("Pretty", "PRETTY"):
        assert b"\n" not in shared.get(f"{SCHEDULER}?{query}").body
    assert shared.get(f"{SCHEDULER}?Region=mars&WAIT=x&Index=x").status == 200


def test_first_of_two_parameters_counts(shared):
    assert shared.get(f"{SCHEDULER}?region=global&region=mars").status == 200
    assert shared.get(f"{SCHEDULER}?region=mars&region=global").status == 500


def test_wait_is_looked_at_before_index(shared):
    assert shared.get(f"{SCHEDULER}?index=x&wait=x").text == "Invalid wait time"
    assert shared.get(f"{SCHEDULER}?index=18446744073709551616").text == "Invalid index"
    assert shared.get(f"{SCHEDULER}?index=18446744073709551615&wait=1s").status == 200
    assert shared.get(f"{LICENSE}?index=x&wait=x").status == 200


def test_region_is_case_sensitive_and_its_own_name_is_known(shared):
    for path in (RAFT, AUTOPILOT, SCHEDULER, "/v1/status/leader", "/v1/status/peers"):
        assert shared.get(f"{path}?region=global").status == 200
        for name in ("Global", "mars", "../../etc"):
            answer = shared.get(f"{path}?region={name}")
            assert (answer.status, answer.text) == (500, "No path to region")


def test_region_is_ignored_by_what_the_agent_says_of_itself(shared):
    for path in ("/v1/agent/self", "/v1/agent/members", "/v1/agent/health", "/v1/regions"):
        assert shared.get(f"{path}?region=mars").status == 200


def test_stale_false_is_not_stale_and_every_other_value_is(shared):
    for value in ("stale", "stale=", "stale=1", "stale=false", "stale=nonsense"):
        assert shared.get(f"{RAFT}?{value}").status == 200


def test_unknown_parameters_are_ignored(shared):
    assert shared.get(f"{RAFT}?nothing=1&%zz&a;b").json() == shared.get(RAFT).json()


# Pretty printing


def test_pretty_indents_by_four_spaces_and_ends_the_line(shared):
    plain = shared.get(SCHEDULER).text
    assert shared.get(f"{SCHEDULER}?pretty=0").text == plain
    wanted = json.dumps(json.loads(plain), indent=4) + "\n"
    for value in ("pretty", "pretty=", "pretty=1", "pretty=false"):
        assert shared.get(f"{SCHEDULER}?{value}").text == wanted


def test_pretty_leaves_values_with_an_encoder_of_their_own_on_one_line(shared):
    assert shared.get(f"{AUTOPILOT}?pretty").text == shared.get(AUTOPILOT).text + "\n"
    assert shared.get("/v1/status/leader?pretty").text.count("\n") == 1


def test_pretty_prints_the_answers_to_writes_as_well(shared):
    assert shared.put(f"{AUTOPILOT}?pretty", {}).text == "true\n"
    assert shared.put(f"{SCHEDULER}?pretty", {}).text.startswith('{\n    "Index": ')


def test_errors_are_never_pretty(shared):
    assert shared.get(f"{SCHEDULER}?pretty&wait=x").text == "Invalid wait time"


# Indexes


def test_write_that_loses_its_compare_and_set_takes_an_index_all_the_same(shared):
    for path in (AUTOPILOT, SCHEDULER):
        before, shown = last_index(shared), shared.get(path).body
        assert shared.put(f"{path}?cas=1", {}).status == 200
        assert last_index(shared) == before + 1
        assert shared.get(path).body == shown


def test_every_accepted_write_takes_one_index_and_a_refused_one_none(shared):
    before = last_index(shared)
    assert shared.put(AUTOPILOT, {}).status == 200
    assert shared.put(AUTOPILOT, b"{").status == 400
    assert shared.put(SCHEDULER, {"SchedulerAlgorithm": "best"}).status == 400
    assert shared.delete("/v1/operator/raft/peer?id=x").status == 500
    assert shared.put(SCHEDULER, {}).json()["Index"] == before + 2
    assert last_index(shared) == before + 2


def test_index_continues_to_grow_after_a_restart(start_agent):
    agent = start_agent()
    first = agent.put(SCHEDULER, {"SchedulerAlgorithm": "spread"}).json()["Index"]
    shown = agent.get(SCHEDULER).body
    agent.restart()
    assert agent.get(SCHEDULER).body == shown
    assert agent.put(SCHEDULER, {}).json()["Index"] > first


# What an agent says of itself


def test_secrets_of_the_settings_are_redacted(start_agent):
    secret = "tbLJg26ZJyJ9pK3qhc9jig=="
    settings: dict[str, Any] = {
        "acl": {"enabled": False, "replication_token": "7f3c3a0e-secret-of-another-region"},
        "server": {"encrypt": secret},
    }
    agent = start_agent(settings)
    answer = agent.get("/v1/agent/self")
    assert answer.json()["config"]["ACL"]["ReplicationToken"] == "<redacted>"
    assert secret not in answer.text
    assert "secret-of-another-region" not in answer.text + agent.log
    assert answer.json()["stats"]["serf"]["encrypted"] == "true"


def test_statistics_are_real(shared):
    stats = shared.get("/v1/agent/self").json()["stats"]
    assert all(isinstance(value, str) for part in stats.values() for value in part.values())
    raft, nomad = stats["raft"], stats["nomad"]
    assert (raft["state"], raft["num_peers"], raft["last_contact"]) == ("Leader", "0", "0")
    assert raft["last_log_index"] == raft["commit_index"] == raft["applied_index"]
    assert nomad == {
        "bootstrap": "true",
        "known_regions": "1",
        "leader": "true",
        "leader_addr": f"127.0.0.1:{shared.rpc_port}",
        "server": "true",
    }
    before = int(raft["last_log_index"])
    shared.put(SCHEDULER, {})
    assert shared.get("/v1/operator/snapshot").status == 200
    after = shared.get("/v1/agent/self").json()["stats"]["raft"]
    assert int(after["last_log_index"]) == before + 1
    assert after["last_snapshot_index"] == after["last_log_index"]


def test_environment_of_the_host_is_shown_without_its_secrets(tmp_path):
    environment = {"MY_API_TOKEN": "hidden-token", "DB_PASSWORD": "hidden-word", "PLAIN": "shown"}
    with Agent(tmp_path, {"enable_debug": True}, environment=environment) as agent:
        answer = agent.get("/v1/agent/host")
        shown = answer.json()["Environment"]
        assert shown["PLAIN"] == "shown"
        assert shown["MY_API_TOKEN"] == shown["DB_PASSWORD"] == "<redacted>"
        assert "hidden" not in answer.text


# Tokens


def make(guarded: tuple[Agent, str], **fields: Any) -> Any:
    agent, root = guarded
    body = {"Name": "t", "Type": "client", "Policies": ["read"], **fields}
    return agent.put("/v1/acl/token", body, root).json()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("by_path", [True, False])
def test_known_accessor_in_the_body_updates_that_token(guarded, whole, by_path):
    agent, root = guarded
    token = make(guarded)
    body = {**token, "Name": "changed"}
    if not whole:
        del body["SecretID"]
    path = f"/v1/acl/token/{token['AccessorID']}" if by_path else "/v1/acl/token"
    answer = agent.put(path, body, root)
    changed = answer.json()
    assert answer.status == 200
    assert changed["Name"] == "changed"
    assert changed["ModifyIndex"] > token["ModifyIndex"]
    assert answer.header("X-Nomad-Index") == str(changed["ModifyIndex"])
    for kept in ("AccessorID", "SecretID", "CreateTime", "CreateIndex"):
        assert changed[kept] == token[kept]


def test_secret_and_time_of_a_token_cannot_be_changed(guarded):
    agent, root = guarded
    token = make(guarded)
    body = {**token, "SecretID": "11111111-2222-3333-4444-555555555555", "CreateTime": "x"}
    changed = agent.put(f"/v1/acl/token/{token['AccessorID']}", body, root).json()
    assert changed["SecretID"] == token["SecretID"]
    assert changed["CreateTime"] == token["CreateTime"]
    assert agent.get("/v1/acl/token/self", token["SecretID"]).json() == changed


def test_update_replaces_the_whole_token(guarded):
    agent, root = guarded
    token = make(guarded)
    path = f"/v1/acl/token/{token['AccessorID']}"
    answer = agent.put(path, {"AccessorID": token["AccessorID"], "Policies": ["read"]}, root)
    assert (answer.status, answer.text) == (
        400,
        "token 0 invalid: 1 error occurred:\n\t* token type must be client or management\n\n",
    )
    body = {"AccessorID": token["AccessorID"], "Type": "management"}
    changed = agent.put(path, body, root).json()
    assert (changed["Name"], changed["Policies"]) == ("", None)
    assert agent.get("/v1/acl/tokens", token["SecretID"]).status == 200


OWN_ACCESSOR = "11111111-2222-3333-4444-777777777777"
OWN_SECRET = "33333333-2222-3333-4444-777777777777"


def test_token_is_made_with_ids_of_ones_own_when_both_are_given(guarded):
    agent, root = guarded
    own = {"AccessorID": OWN_ACCESSOR, "SecretID": OWN_SECRET}
    made = make(guarded, **own)
    assert {name: made[name] for name in own} == own
    assert agent.get("/v1/acl/token/self", OWN_SECRET).json() == made
    operator = {"Name": "t", "Rules": 'operator { policy = "write" }'}
    agent.put("/v1/acl/policy/t", operator, root)
    least = make(guarded, Policies=["t"])["SecretID"]
    body = {"Type": "management", "AccessorID": OWN_SECRET, "SecretID": OWN_ACCESSOR}
    assert agent.put("/v1/acl/token", body, least).status == 403
    agent.delete(f"/v1/acl/token/{OWN_ACCESSOR}", root)


def test_secret_that_comes_without_an_accessor_is_not_used(guarded):
    agent, _ = guarded
    made = make(guarded, SecretID="44444444-2222-3333-4444-777777777777")
    assert made["SecretID"] != "44444444-2222-3333-4444-777777777777"
    assert agent.get("/v1/acl/token/self", made["SecretID"]).json() == made


@pytest.mark.parametrize("by_path", [True, False])
def test_unused_accessor_alone_makes_no_token(guarded, by_path):
    agent, root = guarded
    accessor = "55555555-2222-3333-4444-777777777777"
    path = f"/v1/acl/token/{accessor}" if by_path else "/v1/acl/token"
    answer = agent.put(path, {"AccessorID": accessor, "Type": "management"}, root)
    assert (answer.status, answer.text) == (404, f"cannot find token {accessor}")


def test_token_is_known_by_its_ids_in_capital_letters_too(guarded):
    agent, root = guarded
    ids = {
        "AccessorID": "ABCDEFAB-2222-3333-4444-777777777777",
        "SecretID": "FEDCBAFE-2222-3333-4444-777777777777",
    }
    made = make(guarded, **ids)
    assert made["SecretID"] == ids["SecretID"]
    for secret in (ids["SecretID"], ids["SecretID"].lower()):
        assert agent.get("/v1/acl/token/self", secret).json() == made
        assert agent.get(SCHEDULER, secret).status == 200
    twin = {"Type": "management", "AccessorID": OWN_ACCESSOR, "SecretID": ids["SecretID"].lower()}
    answer = agent.put("/v1/acl/token", twin, root)
    assert (answer.status, answer.text) == (400, "a token with that secret exists")
    path = f"/v1/acl/token/{ids['AccessorID']}"
    assert agent.get(path, root).json() == made
    body = {"AccessorID": ids["AccessorID"], "Name": "new", "Type": "client", "Policies": ["read"]}
    changed = agent.put(path, body, root).json()
    assert (changed["Name"], changed["AccessorID"]) == ("new", made["AccessorID"])
    assert agent.delete(path, root).status == 200
    assert agent.get(SCHEDULER, ids["SecretID"]).status == 403


@pytest.mark.parametrize(
    "field",
    [
        {"ExpirationTTL": "1h"},
        {"ExpirationTTL": 3_600_000_000_000},
        {"ExpirationTTL": "soon"},
        {"ExpirationTTL": {"a": 1}},
        {"ExpirationTime": "2030-01-01T00:00:00Z"},
        {"ExpirationTime": ["2030"]},
        {"expirationttl": "1h"},
    ],
)
@pytest.mark.parametrize("update", [True, False])
def test_token_that_is_to_end_is_refused(guarded, field, update):
    agent, root = guarded
    body = {"Name": "ends", "Type": "client", "Policies": ["read"]}
    body |= {"AccessorID": make(guarded)["AccessorID"]} if update else {}
    before = len(agent.get("/v1/acl/tokens", root).json())
    answer = agent.put("/v1/acl/token", {**body, **field}, root)
    assert answer.status == 400
    assert answer.text.startswith("ExpirationTTL and ExpirationTime are not supported")
    assert len(agent.get("/v1/acl/tokens", root).json()) == before


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/acl/token", "ACLToken"),
        ("/v1/acl/policy/p", "ACLPolicy"),
        ("/v1/namespace", "Namespace"),
    ],
)
def test_body_of_the_wrong_form_is_refused_by_the_name_that_nomad_has_for_it(guarded, path, kind):
    agent, root = guarded
    answer = agent.put(path, b"[]", root)
    assert (answer.status, answer.text) == (
        500,
        f"json: cannot unmarshal array into Go value of type structs.{kind}",
    )
    answer = agent.put(path, {"Name": 1}, root)
    assert answer.text == (
        f"json: cannot unmarshal number into Go struct field {kind}.Name of type string"
    )


def test_token_with_roles_is_refused(guarded):
    agent, root = guarded
    body = {"Name": "r", "Type": "client", "Policies": ["read"], "Roles": [{"Name": "dev"}]}
    answer = agent.put("/v1/acl/token", body, root)
    assert (answer.status, answer.text) == (
        400,
        "Roles are not supported: name the policies in Policies",
    )


def test_empty_keys_of_later_releases_are_taken_and_shown(guarded):
    agent, root = guarded
    empty = {"ExpirationTTL": "", "ExpirationTime": None, "Roles": None}
    assert {name: make(guarded)[name] for name in empty} == empty
    for ttl, time_, roles in (
        ("", None, None),
        ("0s", "", []),
        (0, "0001-01-01T00:00:00Z", None),
    ):
        made = make(guarded, ExpirationTTL=ttl, ExpirationTime=time_, Roles=roles)
        assert {name: made[name] for name in empty} == empty
        assert agent.get(f"/v1/acl/token/{made['AccessorID']}", root).json() == made
        answer = agent.put("/v1/acl/token", made, root)
        assert (answer.status, answer.header("Warning")) == (200, None)
    stub = agent.get("/v1/acl/tokens", root).json()[0]
    assert (stub["ExpirationTime"], stub["Roles"]) == (None, None)


def test_policy_for_jobs_alone_is_refused(guarded):
    agent, root = guarded
    body = {"Name": "job", "Rules": "", "JobACL": {"Namespace": "default", "JobID": "web"}}
    answer = agent.put("/v1/acl/policy/job", body, root)
    assert answer.status == 400
    assert answer.text.startswith("JobACL is not supported")
    assert agent.get("/v1/acl/policy/job", root).status == 404
    for empty in (None, {}, {"Namespace": "", "JobID": "", "Group": "", "Task": ""}):
        answer = agent.put("/v1/acl/policy/job", {**body, "JobACL": empty}, root)
        assert (answer.status, answer.header("Warning")) == (200, None)
    agent.delete("/v1/acl/policy/job", root)


def test_token_list_shows_no_secret(guarded):
    agent, root = guarded
    token = make(guarded)
    answer = agent.get("/v1/acl/tokens", root)
    assert token["SecretID"] not in answer.text
    assert root not in answer.text
    accessors = [each["AccessorID"] for each in answer.json()]
    assert accessors == sorted(accessors)
    assert token["AccessorID"] in accessors


def test_deleted_token_stops_at_once(guarded):
    agent, root = guarded
    token = make(guarded)
    assert agent.get(SCHEDULER, token["SecretID"]).status == 200
    gone = agent.delete(f"/v1/acl/token/{token['AccessorID']}", root)
    assert (gone.status, gone.body) == (200, b"")
    assert int(gone.header("X-Nomad-Index") or 0) > token["ModifyIndex"]
    answer = agent.get(SCHEDULER, token["SecretID"])
    assert (answer.status, answer.text) == (403, "ACL token not found")


def test_two_faults_of_a_token_are_reported_together(guarded):
    agent, root = guarded
    body = {"Name": "n" * 257, "Type": "client"}
    answer = agent.put("/v1/acl/token", body, root)
    assert answer.status == 400
    assert answer.text.startswith("token 0 invalid: 2 errors occurred:\n\t* ")
    assert "\n\t* token name too long\n" in answer.text
    assert "\n\t* client token missing policies\n" in answer.text


def test_policy_shown_in_json_expands_its_short_hands(guarded):
    agent, root = guarded
    rules = 'namespace "default" { policy = "scale" capabilities = ["submit-job"] }'
    agent.put("/v1/acl/policy/ns", {"Name": "ns", "Rules": rules}, root)
    found = agent.get("/v1/acl/policy/ns", root).json()["RulesJSON"]
    assert found["Raw"] == rules
    assert found["Namespaces"] == [
        {
            "Capabilities": [
                "submit-job",
                "list-scaling-policies",
                "read-scaling-policy",
                "read-job-scaling",
                "scale-job",
            ],
            "Name": "default",
            "Policy": "scale",
        }
    ]
    assert [found[part] for part in ("Agent", "HostVolumes", "Node", "Plugin", "Quota")] == (
        [None] * 5
    )
