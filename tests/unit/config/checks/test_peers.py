from __future__ import annotations

import pytest
from tests.support.settings_checks import check, errors, warnings

from bellcow.config.problem import Phase


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (1, ["WARNING: Bootstrap mode enabled! Potentially unsafe operation."]),
        (2, ["WARNING: Number of bootstrap servers should ideally be set to an odd number."]),
        (3, []),
        (0, []),
    ],
)
def test_the_number_of_expected_servers_may_be_worth_a_warning(expected, message):
    assert warnings({"server.bootstrap_expect": expected}) == message


def test_dev_is_not_warned_of_being_alone():
    assert check({"server.enabled": True, "server.bootstrap_expect": 1}, dev=True, base={}) == []


def test_expecting_servers_by_flag_needs_a_server():
    origins = {"server.bootstrap_expect": "-bootstrap-expect"}
    found = errors({"server.enabled": False, "client.enabled": True}, origins=origins)
    assert found[0] == (Phase.CHECK, "Bootstrap requires server mode to be enabled")
    origins = {"server.bootstrap_expect": "a.hcl:1"}
    found = errors({"server.enabled": False, "client.enabled": True}, origins=origins)
    assert "Bootstrap requires" not in str(found)


def test_a_consul_block_without_joins_gives_a_warning():
    origins = {"consul": "a.hcl:1"}
    alone = {"server.bootstrap_expect": 0}
    (warning,) = [text for text in warnings(alone, origins=origins) if "no effect" not in text]
    assert "this one forms a cluster of its own; name the others in" in warning
    (warning,) = [text for text in warnings(origins=origins) if "no effect" not in text]
    assert "this one waits for 3 servers that it cannot find" in warning
    for named in ({"server.retry_join": ("a",)}, {"server.bootstrap_expect": 1}):
        assert "looks up no servers" not in str(warnings(alone | named, origins=origins))


@pytest.mark.parametrize("key", ["retry_join", "start_join", "server_join.retry_join"])
def test_a_name_that_cannot_be_joined_is_refused_without_its_secrets(key):
    text = "provider=aws secret_access_key=hush tag_key=nomad"
    changes = {f"server.{key}": ("10.0.0.1", text)}
    (problem,) = check(changes, origins={f"server.{key}": "a.hcl:3"})
    assert problem.message == (
        f"server.{key} cannot be joined: asking a cloud for servers (provider=...) "
        "is not supported; name hosts or addresses"
    )
    assert problem.places == (f"a.hcl:3: element 2 of server.{key}",)


@pytest.mark.parametrize("protocol", [1, 2])
def test_an_old_raft_protocol_is_a_warning(protocol):
    (message,) = warnings({"server.raft_protocol": protocol})
    assert message == f"WARNING: raft_protocol {protocol} is read as 3, the only supported one"


def test_an_old_and_a_new_spelling_of_join_do_not_go_together():
    changes = {"server.server_join.retry_join": ("a",), "server.retry_max": 2}
    origins = dict.fromkeys([*changes, "server.retry_interval"], "a.hcl:1")
    assert errors(changes, origins=origins) == [
        (
            Phase.JOIN,
            f"server_join and {name} cannot both be defined; prefer setting the server_join stanza",
        )
        for name in ("retry_max", "retry_interval")
    ]


def test_a_keyring_file_wins_over_the_key_with_a_warning(tmp_path):
    changes = {"server.encrypt": "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="}
    changes["data_dir"] = str(tmp_path)
    assert check(changes) == []
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "serf.keyring").write_text('["c29tZSBzaXh0ZWVuIGJ5dA=="]')
    assert warnings(changes) == ["WARNING: keyring exists but -encrypt given, using keyring"]
    assert errors(changes) == []
    changes["server.encrypt"] = ""
    assert check(changes) == []


def test_a_keyring_file_with_the_same_key_gives_no_warning(tmp_path):
    key = "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "serf.keyring").write_text(f'["{key}"]')
    assert check({"server.encrypt": key, "data_dir": str(tmp_path)}) == []


def test_a_keyring_without_keys_stops_the_start(tmp_path):
    path = tmp_path / "server" / "serf.keyring"
    path.parent.mkdir()
    path.write_text("[]")
    message = f"failed to configure keyring: no keys present in keyring file: {path}"
    assert errors({"data_dir": str(tmp_path)}) == [(Phase.AGENT, message)]


@pytest.mark.parametrize(
    "changes",
    [
        {"server.bootstrap_expect": 3},
        {"server.bootstrap_expect": 0, "server.retry_join": ("10.0.0.2",)},
    ],
)
def test_several_servers_without_a_key_are_refused_with_one_to_paste(changes):
    (problem,) = [each for each in check({"server.encrypt": ""} | changes) if not each.warning]
    assert problem.text.startswith("Error starting agent: this server ")
    (line,) = [each for each in problem.places if each.startswith('    encrypt = "')]
    key = line.split('"')[1]
    assert errors({"server.encrypt": key} | changes) == []
    (other,) = [each for each in check({"server.encrypt": ""} | changes) if not each.warning]
    assert other.places != problem.places
    assert errors({"server.encrypt": "", "server.open_peers": True} | changes) == []
