"""Both forms of peers.json, and all its refusals."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cluster.recovery.peers_json import Listed, digest, normal, parse, written
from bellcow.errors import Code, Error

ADDRESSES = b'["10.0.0.1:4647", "10.0.0.2:4647"]'
OBJECTS = b"""[
  {"id": "b", "address": "10.0.0.2:4647", "non_voter": false},
  {"id": "a", "address": "10.0.0.1:4647"}
]"""


def refusal(text: str | bytes) -> str:
    with pytest.raises(Error) as caught:
        parse(text.encode() if isinstance(text, str) else text, "raft/peers.json")
    assert caught.value.code is Code.INVALID
    start = "recovery failed to parse peers.json: raft/peers.json: "
    assert caught.value.message.startswith(start)
    return caught.value.message.removeprefix(start)


def test_form_of_addresses_is_read():
    assert parse(ADDRESSES) == (Listed("10.0.0.1:4647"), Listed("10.0.0.2:4647"))


def test_form_of_objects_is_read():
    assert parse(OBJECTS) == (Listed("10.0.0.2:4647", "b"), Listed("10.0.0.1:4647", "a"))


def test_keys_may_be_written_in_any_case_as_in_go():
    text = b'[{"ID": "A", "Address": "h:1", "Non_Voter": false}]'
    assert parse(text) == (Listed("h:1", "a"),)


def test_both_forms_have_one_digest_in_any_order():
    assert digest(parse(ADDRESSES)) == digest(parse(OBJECTS))


@pytest.mark.parametrize(
    "other",
    [
        b'["10.0.0.1:4647"]',
        b'["10.0.0.1:4647", "10.0.0.2:4648"]',
        b'["10.0.0.1:4647", {"id": "b", "address": "10.0.0.2:4647", "non_voter": true}]',
    ],
    ids=["fewer servers", "another port", "no vote"],
)
def test_other_servers_have_another_digest(other: bytes):
    assert digest(parse(other)) != digest(parse(ADDRESSES))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Host.Example:4647", "host.example:4647"),
        ("[FE80:0::1]:4647", "[fe80::1]:4647"),
        (" 10.0.0.1:4647 ", "10.0.0.1:4647"),
    ],
)
def test_address_has_one_spelling(one: str, other: str):
    assert normal(one) == other == normal(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON: it ends too early"),
        ("[", "not JSON: it ends too early"),
        ("[" * 100_000, "nested too deeply"),
        (b'["\xff:1"]', "not JSON: not UTF-8"),
        ("{}", "it must be a list of addresses, or of objects"),
        ("[]", "no servers in configuration"),
        ("null", "it must be a list"),
        ("[1]", "entry 1: it must be an address, or an object"),
        ('["10.0.0.1:4647", ""]', "entry 2: empty address"),
        ('["10.0.0.1"]', 'entry 1: "10.0.0.1" is not an address: it must be host:port'),
        ('["10.0.0.1:"]', "entry 1:"),
        ('["10.0.0.1:0"]', "must be host:port"),
        ('["10.0.0.1:70000"]', "must be host:port"),
        ('[":4647"]', "must be host:port"),
        ('["a b:1"]', "must be host:port"),
        ('["a:1,b:1"]', "must be host:port"),
        ('["http://a:1"]', "must be host:port"),
        ('["0.0.0.0:4647"]', "entry 1: "),
        ('["[::]:4647"]', "is not the address of one server"),
        ('[{"address": "a:1"}]', "entry 1: empty id"),
        ('[{"id": "a"}]', "entry 1: empty address"),
        ('[{"id": 1, "address": "a:1"}]', "entry 1: id and address must be texts"),
        ('[{"id": "a", "address": "a:1", "non_voter": 1}]', "non_voter must be true or false"),
        ('[{"id": "a", "address": "a:1", "non-voter": true}]', 'unknown key "non-voter"; the keys'),
        ('["a:1", "A:1"]', "entry 2: found duplicate address in configuration: a:1, which entry 1"),
        (
            '[{"id": "a", "address": "a:1"}, {"id": "A", "address": "b:1"}]',
            "entry 2: found duplicate ID in configuration: a, which entry 1 has",
        ),
        (
            '[{"id": "a", "address": "a:1", "non_voter": true}]',
            "need at least one voter in configuration",
        ),
    ],
)
def test_wrong_file_is_refused_with_its_entry_named(text: str | bytes, said: str):
    assert said in refusal(text)


def test_too_many_entries_are_refused():
    rows = [f"h{number}:1" for number in range(501)]
    assert refusal(msgspec.json.encode(rows)) == "501 entries, at most 500"


@pytest.mark.parametrize("data", [ADDRESSES, OBJECTS])
def test_what_is_written_is_what_is_read(data: bytes):
    assert parse(written(parse(data))) == parse(data)


def test_form_of_addresses_is_written_if_an_id_is_unknown():
    both = (*parse(OBJECTS), Listed("c:1"))
    assert written(both) == b'[\n  "10.0.0.2:4647",\n  "10.0.0.1:4647",\n  "c:1"\n]\n'


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,aid012.non_vter', max_size=80))
def test_any_bytes_are_parsed_or_refused(data: bytes | str):
    raw = data if isinstance(data, bytes) else data.encode()
    with contextlib.suppress(Error):
        servers = parse(raw)
        assert digest(servers) == digest(parse(written(servers)))
