"""Policies: parsing, refusals with their reason, and the sum of several policies."""

from __future__ import annotations

import itertools
import re
import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.acl import policy as acl
from bellcow.acl import rights, validation
from bellcow.acl.rights import Need
from bellcow.errors import Code, Error
from bellcow.model.acl import ACLPolicy, ACLToken
from bellcow.model.namespace import Namespace
from bellcow.wire import to_json

READ_CAPABILITIES = [
    "list-jobs",
    "parse-job",
    "read-job",
    "csi-list-volume",
    "csi-read-volume",
    "read-job-scaling",
    "list-scaling-policies",
    "read-scaling-policy",
]


def rights_of(*rules):
    return rights.compile_rights([acl.parse_rules(text) for text in rules])


def refusal(rules):
    with pytest.raises(Error) as caught:
        acl.parse_rules(rules)
    assert caught.value.code is Code.INVALID
    return caught.value.message


def shown(rules):
    return msgspec.json.decode(to_json(acl.rules_json(acl.parse_rules(rules))))


# Reading and refusing


def test_unknown_blocks_are_listed_by_name():
    text = 'Node { policy = "read" }\noperatr {}\nfoo { bar {} }\nfoo {}'
    assert acl.unknown_blocks(text) == ("operatr", "foo")
    assert set(acl.BLOCKS) == {
        {"namespaces": "namespace", "host_volumes": "host_volume"}.get(name, name)
        for name in acl.Rules.__struct_fields__
        if name != "raw"
    }


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (
            'operator { policy = "superuser" }',
            'Invalid operator policy: &acl.OperatorPolicy{Policy:"superuser"}',
        ),
        (
            "operator {",
            "Failed to parse ACL Policy: At 1:12: object expected closing RBRACE got: EOF",
        ),
        (
            "nothing",
            (
                "Failed to parse ACL Policy: At 1:9: key 'nothing' expected start of object ('{') "
                "or assignment ('=')"
            ),
        ),
        ('foo "x" { policy = "read" }', 'Invalid policy: foo "x" { policy = "read" }'),
        (
            'operator { policy = "list" }',
            'Invalid operator policy: &acl.OperatorPolicy{Policy:"list"}',
        ),
        ("operator { }", 'Invalid operator policy: &acl.OperatorPolicy{Policy:""}'),
        (
            'namespace "a b" { policy="read" }',
            (
                'Invalid namespace name: &acl.NamespacePolicy{Name:"a b", Policy:"read", '
                "Capabilities:[]string(nil)}"
            ),
        ),
        (
            'namespace "default" { capabilities=["fly"] }',
            (
                "Invalid namespace capability 'fly': &acl.NamespacePolicy{Name:\"default\", "
                'Policy:"", Capabilities:[]string{"fly"}}'
            ),
        ),
        (
            'namespace "default" { policy="godmode" }',
            (
                'Invalid namespace policy: &acl.NamespacePolicy{Name:"default", Policy:"godmode", '
                "Capabilities:[]string(nil)}"
            ),
        ),
    ],
)
def test_refused_with_the_recorded_reason(rules, reason):
    assert refusal(rules) == reason


@pytest.mark.parametrize("block", ["agent", "node", "operator", "quota"])
def test_list_is_a_level_of_plugins_only(block):
    kind = block.capitalize()
    expected = f'Invalid {block} policy: &acl.{kind}Policy{{Policy:"list"}}'
    assert refusal(f'{block} {{ policy = "list" }}') == expected
    assert acl.parse_rules('plugin { policy = "list" }').plugin.policy == "list"


@pytest.mark.parametrize("level", ["write", "scale", "", "READ"])
def test_plugins_have_levels_of_their_own(level):
    expected = f'Invalid plugin policy: &acl.PluginPolicy{{Policy:"{level}"}}'
    assert refusal(f'plugin {{ policy = "{level}" }}') == expected


@pytest.mark.parametrize(
    ("rules", "start"),
    [
        ('host_volume "a b" {}', "Invalid host volume name: &acl.HostVolumePolicy{"),
        ('host_volume "a" { policy = "x" }', "Invalid host volume policy: "),
        ('host_volume "a" { capabilities = ["list-jobs"] }', "Invalid host volume capability 'li"),
        ('operator { capabilities = ["fly"] }', "Invalid operator capability 'fly': &acl.Operator"),
        ('operator { capabilities = ["deny"] }', "Invalid operator capability 'deny'"),
        ("operator { capabilities = [] }", 'Invalid operator policy: &acl.OperatorPolicy{Policy:"'),
        (
            'operator { policy = "x" capabilities = ["snapshot-save"] }',
            'Invalid operator policy: &acl.OperatorPolicy{Policy:"x", Capabilities:[]string{"snap',
        ),
        (
            'namespace "" { policy = "read" }',
            'Invalid namespace name: &acl.NamespacePolicy{Name:""',
        ),
        ('namespace "a\\n" { policy = "read" }', "Invalid namespace name: "),
        ("  ", "Invalid policy:   "),
        ("{}", "Invalid policy: {}"),
        ('namespace "' + "n" * 129 + '" { policy = "read" }', "Invalid namespace name: "),
    ],
)
def test_refused_with_a_reason_that_starts(rules, start):
    assert refusal(rules).startswith(start)


@pytest.mark.parametrize(
    "rules",
    [
        'namespace { policy = "write" }',  # a rule without a label is no rule for all
        'namespace "a" "b" { policy = "read" }',
        'operator "x" { policy = "write" }',
        'operator = "write"',
        "operator { policy = true }",
        'operator { policy = ["write"] }',
        'namespace "a" { capabilities = "list-jobs" }',
        'namespace "a" { capabilities = [1] }',
        'namespace "a" { capabilities = [{}] }',
        '{"operator": {"policy": "write"}} trailing',
        '{"operator": [[[1]]]}',
        "[" * 5000,
        '{"a":' * 5000,
        "a {" * 5000,
    ],
)
def test_rules_of_another_shape_fail_to_parse(rules):
    assert refusal(rules).startswith("Failed to parse ACL Policy: At ")


@given(st.text(max_size=60) | st.text(alphabet='{}[]"=\n,:operatnlicy ', max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        acl.parse_rules(text)
    except Error as problem:
        assert problem.code is Code.INVALID  # noqa: PT017  either way is right


def test_the_values_in_a_refusal_are_quoted_as_go_does():
    rules = '{"agent": {"policy": "\\"\\\\\\t\\u0001\\u00e9\\u200b\\ue000\\ud83d\\ude00"}}'
    assert refusal(rules).endswith('{Policy:"\\"\\\\\\t\\x01é\\u200b\\ue000😀"}')


def test_the_empty_text_is_a_policy_without_rights():
    assert shown("") == {
        "Agent": None,
        "HostVolumes": None,
        "Namespaces": None,
        "Node": None,
        "Operator": None,
        "Plugin": None,
        "Quota": None,
        "Raw": "",
    }
    assert rights_of("").needs == {Need.ANONYMOUS}


def test_rules_are_shown_as_recorded():
    rules = (
        'namespace "default" {\n policy = "read"\n capabilities = ["submit-job"]\n}\n'
        'node { policy = "write" }\nagent { policy = "read" }\noperator { policy = "write" }\n'
        'quota { policy = "read" }\nplugin { policy = "list" }\nhost_volume "*" { policy = "read" }'
    )
    expected = {
        "Agent": {"Policy": "read"},
        "HostVolumes": [{"Capabilities": ["mount-readonly"], "Name": "*", "Policy": "read"}],
        "Namespaces": [
            {
                "Capabilities": ["submit-job", *READ_CAPABILITIES],
                "Name": "default",
                "Policy": "read",
            }
        ],
        "Node": {"Policy": "write"},
        "Operator": {"Policy": "write"},
        "Plugin": {"Policy": "list"},
        "Quota": {"Policy": "read"},
        "Raw": rules,
    }
    assert shown(rules) == expected
    assert list(shown(rules)) == list(expected)


def test_json_of_the_same_shape_means_the_same():
    text = (
        'namespace "a" { policy = "write" }\nnamespace "b-*" { capabilities = ["list-jobs"] }\n'
        'operator { policy = "read" capabilities = ["snapshot-save"] }'
    )
    as_json = (
        '{"namespace": {"a": {"policy": "write"}, "b-*": {"capabilities": ["list-jobs"]}},'
        ' "operator": {"policy": "read", "capabilities": ["snapshot-save"]}}'
    )
    as_lists = (
        '{"namespace": [{"a": {"policy": "write"}}, {"b-*": {"capabilities": ["list-jobs"]}}],'
        ' "operator": [{"policy": "read", "capabilities": ["snapshot-save"]}]}'
    )
    expected = {**shown(text), "Raw": ""}
    assert {**shown(as_json), "Raw": ""} == expected
    assert {**shown(as_lists), "Raw": ""} == expected


def test_a_key_given_twice_in_json_is_not_forgotten():
    twice = '{"namespace": {"a": {"policy": "deny"}}, "namespace": {"a": {"policy": "write"}}}'
    assert not rights_of(twice).any_namespace_right("a")


def test_unknown_blocks_are_ignored_next_to_a_known_one():
    assert rights_of('foo "x" {}\noperator { policy = "read" }').allows(Need.OPERATOR_READ)


def test_of_two_blocks_of_one_kind_the_last_counts():
    assert shown('agent { policy = "write" }\nagent { policy = "read" }')["Agent"] == {
        "Policy": "read"
    }


def test_keys_may_be_in_capitals():
    assert rights_of('Operator { Policy = "write" }').allows(Need.OPERATOR_WRITE)


def test_operator_capabilities_are_shown_only_when_there_are_any():
    rules = 'operator { capabilities = ["license-read"] }'
    assert shown(rules)["Operator"] == {"Capabilities": ["license-read"], "Policy": ""}


# Needs


FULL = {
    "operator": {Need.OPERATOR_READ, Need.OPERATOR_WRITE, Need.LICENSE_READ},
    "agent": {Need.AGENT_READ, Need.AGENT_WRITE},
    "node": {Need.NODE_READ, Need.NODE_WRITE},
}
READ = {
    "operator": {Need.OPERATOR_READ, Need.LICENSE_READ},
    "agent": {Need.AGENT_READ},
    "node": {Need.NODE_READ},
}


@pytest.mark.parametrize("block", FULL)
@pytest.mark.parametrize(
    "levels",
    [
        levels
        for size in (1, 2, 3)
        for levels in itertools.product(["deny", "read", "write", "scale"], repeat=size)
    ],
    ids="+".join,
)
def test_deny_beats_write_beats_read_and_scale_grants_nothing(block, levels):
    granted = set(rights_of(*(f'{block} {{ policy = "{level}" }}' for level in levels)).needs)
    if "deny" in levels:
        expected = set()
    elif "write" in levels:
        expected = FULL[block]
    else:
        expected = READ[block] if "read" in levels else set()
    assert granted == {Need.ANONYMOUS, *expected}


@pytest.mark.parametrize("need", Need)
def test_management_may_do_everything_and_nothing_only_the_open_things(need):
    assert rights.MANAGEMENT.allows(need)
    assert rights.NOTHING.allows(need) == (need is Need.ANONYMOUS)


def test_no_sum_of_policies_makes_a_management_token():
    all_of_it = rights_of(
        'namespace "*" { policy = "write" }\nagent { policy = "write" }\n'
        'node { policy = "write" }\n'
        'operator { policy = "write" capabilities = ["snapshot-save", "license-read"] }\n'
        'quota { policy = "write" }\nplugin { policy = "read" }'
    )
    assert set(Need) - all_of_it.needs == {Need.MANAGEMENT}
    assert not all_of_it.management


@pytest.mark.parametrize(
    ("rules", "granted"),
    [
        (['{ capabilities = ["snapshot-save"] }'], {Need.SNAPSHOT_SAVE}),
        (['{ capabilities = ["license-read"] }'], {Need.LICENSE_READ}),
        (
            ['{ policy = "write" }', '{ capabilities = ["snapshot-save"] }'],
            {*FULL["operator"], Need.SNAPSHOT_SAVE},
        ),
        (
            ['{ policy = "read" capabilities = ["snapshot-save"] }'],
            {*READ["operator"], Need.SNAPSHOT_SAVE},
        ),
        (['{ policy = "deny" capabilities = ["snapshot-save"] }'], set()),
        (['{ capabilities = ["snapshot-save", "license-read"] }', '{ policy = "deny" }'], set()),
        (
            ['{ policy = "scale" capabilities = ["snapshot-save"] }'],
            {Need.SNAPSHOT_SAVE},
        ),
    ],
)
def test_operator_capabilities_add_to_the_level_and_deny_clears_them(rules, granted):
    blocks = [f"operator {rule}" for rule in rules]
    for order in itertools.permutations(blocks):
        assert rights_of(*order).needs == {Need.ANONYMOUS, *granted}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (("read",), (True, False)),
        (("write", "read"), (True, True)),
        (("write", "deny"), (False, False)),
        (("scale",), (False, False)),
    ],
)
def test_quota_levels_give_read_and_write(levels, expected):
    found = rights_of(*(f'quota {{ policy = "{level}" }}' for level in levels))
    assert (found.quota_read, found.quota_write) == expected


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (("list",), (True, False)),
        (("read",), (True, True)),
        (("list", "read"), (True, True)),
        (("list", "deny"), (False, False)),
    ],
)
def test_plugin_levels_give_list_and_read(levels, expected):
    found = rights_of(*(f'plugin {{ policy = "{level}" }}' for level in levels))
    assert (found.plugin_list, found.plugin_read) == expected


# Namespaces


def namespace(name, **fields):
    inside = " ".join(
        f"{key} = {msgspec.json.encode(value).decode()}" for key, value in fields.items()
    )
    return f'namespace "{name}" {{ {inside} }}'


def test_a_rule_covers_its_own_name_and_no_other():
    found = rights_of(namespace("job-a", policy="write"))
    assert found.namespace_allows("job-a", "submit-job")
    for other in (
        "job-ab",
        "job-",
        "job",
        "Job-a",
        "job-a-b",
        "xjob-a",
        "*",
        "",
        "job-a\n",
        "job_a",
    ):
        assert not found.namespace_allows(other, "list-jobs"), other
        assert not found.any_namespace_right(other), other


def test_a_name_with_a_star_is_no_namespace_even_for_the_rule_of_that_text():
    found = rights_of(namespace("*", policy="write"), namespace("secret", policy="deny"))
    assert found.namespace_allows("any", "submit-job")
    assert not found.namespace_allows("*", "submit-job")
    assert not found.any_namespace_right("secret")
    assert rights.MANAGEMENT.namespace_allows("*", "submit-job")


def test_capabilities_are_united_over_policies():
    found = rights_of(
        namespace("a", policy="read"), namespace("a", capabilities=["alloc-node-exec"])
    )
    assert all(found.namespace_allows("a", name) for name in READ_CAPABILITIES)
    assert found.namespace_allows("a", "alloc-node-exec")
    assert not found.namespace_allows("a", "submit-job")


@pytest.mark.parametrize(
    "deny", [namespace("a", policy="deny"), namespace("a", capabilities=["list-jobs", "deny"])]
)
def test_deny_clears_a_namespace_in_any_order(deny):
    for order in itertools.permutations([namespace("a", policy="write"), deny]):
        found = rights_of(*order)
        assert not found.any_namespace_right("a")
        assert not found.namespace_allows("a", "list-jobs")
        assert not found.namespace_allows("a", "deny")


def test_deny_in_one_namespace_leaves_the_others():
    found = rights_of(namespace("a", policy="deny"), namespace("*", policy="read"))
    assert not found.any_namespace_right("a")
    assert found.any_namespace_right("b")


def test_an_exact_rule_without_capabilities_still_beats_a_pattern():
    found = rights_of(namespace("*", policy="write"), namespace("a"))
    assert not found.any_namespace_right("a")


def test_of_patterns_the_one_that_leaves_the_fewest_characters_open_wins():
    found = rights_of(
        namespace("*", policy="write"),
        namespace("prod-*", policy="read"),
        namespace("prod-api-*", policy="deny"),
    )
    assert found.namespace_allows("dev", "submit-job")
    assert found.namespace_allows("prod-web", "list-jobs")
    assert not found.namespace_allows("prod-web", "submit-job")
    assert not found.any_namespace_right("prod-api-1")
    assert found.namespace_allows("prod-api", "list-jobs")


def test_of_equally_close_patterns_a_denying_one_wins_else_the_last_by_name():
    tied = namespace("a*", policy="write"), namespace("*a", policy="read")
    for order in itertools.permutations(tied):
        assert rights_of(*order).namespace_allows("aa", "submit-job")
    denied = rights_of(namespace("*a", policy="deny"), namespace("a*", policy="write"))
    assert not denied.any_namespace_right("aba")
    assert denied.any_namespace_right("ab")


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("a*a", "aa", True),
        ("a*a", "a", False),  # no character counts twice
        ("ab*ba", "aba", False),
        ("a*b*b", "ab", False),
        ("*ab*b", "ab", False),
        ("a*b*b", "abb", True),
        ("a**b", "ab", True),
        ("***", "x", True),
        ("*a*b*", "xaxbx", True),
        ("*a*b*", "ba", False),
        ("a*", "ba", False),
        ("*a", "ab", False),
    ],
)
def test_star_matches_any_characters_or_none(pattern, name, covered):
    found = rights_of(namespace(pattern, policy="read"))
    assert found.any_namespace_right(name) == covered
    assert bool(reference([(pattern, ["read-job"])], name)) == covered


def test_the_scale_short_hand_only_scales():
    found = rights_of(namespace("a", policy="scale"))
    assert found.namespace_allows("a", "scale-job")
    assert not found.namespace_allows("a", "list-jobs")


def test_names_that_clients_invent_do_not_pile_up():
    found = rights_of(namespace("n*", policy="read"))
    for number in range(5000):
        assert found.any_namespace_right(f"n{number}")
        assert not found.any_namespace_right("x" * 200 + str(number))
    assert len(found.memo) <= 1024


def test_rights_do_not_share_a_memo():
    assert rights_of(namespace("a", policy="read")).any_namespace_right("a")
    assert not rights_of(namespace("b", policy="read")).any_namespace_right("a")


NAMES = st.text(alphabet="ab-", min_size=1, max_size=6)
PATTERNS = st.text(alphabet="ab-*", min_size=1, max_size=6)
CAPABILITIES = st.lists(
    st.sampled_from(["deny", "list-jobs", "read-job", "submit-job"]), max_size=3
)


def reference(rules, name):
    """The same answer from a slow and obvious matcher; None where a tie is decided by name."""
    united = {}
    for pattern, capabilities in rules:
        united.setdefault(pattern, set()).update(capabilities)
    cleared = {p: set() if "deny" in caps else caps for p, caps in united.items()}
    if name in cleared:
        return cleared[name]
    differences = {}
    for pattern in cleared:
        regex = "".join(".*" if char == "*" else re.escape(char) for char in pattern)
        if "*" in pattern and re.fullmatch(regex, name):
            stars = pattern.count("*")
            differences[pattern] = len(name) - (len(pattern) - stars)
    if not differences:
        return set()
    nearest = [p for p in differences if differences[p] == min(differences.values())]
    if any(not cleared[p] for p in nearest):
        return set()
    return cleared[max(nearest)]


@given(st.lists(st.tuples(PATTERNS, CAPABILITIES), max_size=6), st.lists(NAMES, max_size=6))
def test_the_matcher_agrees_with_a_slow_reference(rules, names):
    compiled = rights.compile_rights(
        [
            acl.Rules(namespaces=(acl.NamedRule(capabilities=tuple(caps), name=name, policy=""),))
            for name, caps in rules
        ]
    )
    for name in [*names, *names]:  # the second time from memory
        expected = reference(rules, name)
        assert compiled.any_namespace_right(name) == bool(expected)
        for capability in ("deny", "list-jobs", "read-job", "submit-job"):
            assert compiled.namespace_allows(name, capability) == (capability in expected)


@given(st.permutations([("a*", "write"), ("*a", "read"), ("a-*", "deny"), ("aa", "scale")]))
def test_the_order_of_policies_changes_nothing(rules):
    found = rights_of(*(namespace(name, policy=level) for name, level in rules))
    names = ["a", "aa", "a-", "ab", "ba", "a-a", "b"]
    assert [found.namespace_allows(name, "read-job") for name in names] == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]


# Whole objects


def policy(name="p", description="", rules='operator { policy = "read" }'):
    return ACLPolicy(name=name, description=description, rules=rules)


@pytest.mark.parametrize(
    ("candidate", "reasons"),
    [
        (policy(), []),
        (policy(rules=""), []),
        (policy(name="n" * 128, description="d" * 256), []),
        (policy(name="bad_name"), ["invalid name 'bad_name'"]),
        (policy(name=""), ["invalid name ''"]),
        (policy(name="a\n"), ["invalid name 'a\n'"]),
        (policy(name="n" * 129), [f"invalid name '{'n' * 129}'"]),
        (policy(description="d" * 257), ["description longer than 256"]),
        (policy(description="é" * 129), ["description longer than 256"]),
        (
            policy(name="a b", description="d" * 257, rules="x {}"),
            [
                "invalid name 'a b'",
                "failed to parse rules: Invalid policy: x {}",
                "description longer than 256",
            ],
        ),
    ],
)
def test_reasons_to_refuse_a_policy(candidate, reasons):
    assert validation.validate_policy(candidate) == reasons


@pytest.mark.parametrize(
    ("candidate", "reasons"),
    [
        (ACLToken(type="management"), []),
        (ACLToken(type="client", policies=("p",), name="n" * 256), []),
        (ACLToken(type="client"), ["client token missing policies"]),
        (ACLToken(type="client", policies=()), ["client token missing policies"]),
        (
            ACLToken(type="management", policies=("p",)),
            ["management token cannot be associated with policies"],
        ),
        (ACLToken(type="bogus"), ["token type must be client or management"]),
        (ACLToken(type="", policies=("p",)), ["token type must be client or management"]),
        (ACLToken(type="management", name="n" * 257), ["token name too long"]),
        (
            ACLToken(name="n" * 257),
            ["token name too long", "token type must be client or management"],
        ),
    ],
)
def test_reasons_to_refuse_a_token(candidate, reasons):
    assert validation.validate_token(candidate) == reasons


@pytest.mark.parametrize(
    ("candidate", "reasons"),
    [
        (Namespace(name="dev"), []),
        (
            Namespace(name="a b"),
            ['invalid name "a b". Must match regex ^[a-zA-Z0-9-]{1,128}$'],
        ),
        (
            Namespace(name="*", description="d" * 257),
            [
                'invalid name "*". Must match regex ^[a-zA-Z0-9-]{1,128}$',
                "description longer than 256",
            ],
        ),
    ],
)
def test_reasons_to_refuse_a_namespace(candidate, reasons):
    assert validation.validate_namespace(candidate) == reasons


def test_a_bad_policy_answers_not_found_in_the_recorded_words():
    refused = validation.invalid_policy(validation.validate_policy(policy(name="bad_name")))
    assert refused.code is Code.NOT_FOUND
    assert refused.message == (
        "policy 0 invalid: 1 error occurred:\n\t* invalid name 'bad_name'\n\n"
    )


def test_a_bad_token_answers_invalid_in_the_recorded_words():
    refused = validation.invalid_token(validation.validate_token(ACLToken(type="client")))
    assert refused.code is Code.INVALID
    assert refused.message == (
        "token 0 invalid: 1 error occurred:\n\t* client token missing policies\n\n"
    )


def test_a_bad_namespace_is_a_plain_refusal_in_the_recorded_words():
    refused = validation.invalid_namespace(
        "a b", validation.validate_namespace(Namespace(name="a b"))
    )
    assert refused.code is Code.REFUSED
    assert refused.message == (
        'Invalid namespace "a b": 1 error occurred:\n\t* invalid name "a b". '
        "Must match regex ^[a-zA-Z0-9-]{1,128}$\n\n"
    )


def test_every_printable_name_character_is_judged_alike_in_policy_and_namespace():
    allowed = set(string.ascii_letters + string.digits + "-")
    for char in map(chr, range(0x20, 0x180)):
        fine = char in allowed
        assert (not validation.validate_policy(policy(name=char))) == fine
        assert (not validation.validate_namespace(Namespace(name=char))) == fine


# The page

PAGE = (Path(__file__).parents[3] / "docs" / "acl-policies.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_are_valid_policies():
    examples = re.findall(r"```(?:hcl|json)\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        acl.parse_rules(example)


def test_the_page_lists_the_capabilities_of_each_short_hand():
    rows = re.findall(r"^\| `(read|write|scale)` \| (.*) \|$", PAGE, re.MULTILINE)
    listed = {level: re.findall("`([a-z-]+)`", text) for level, text in rows}
    listed["write"] = [*listed["read"], *listed["write"][1:]]
    for level, capabilities in listed.items():
        (rule,) = acl.parse_rules(namespace("a", policy=level)).namespaces
        assert list(rule.capabilities) == capabilities
