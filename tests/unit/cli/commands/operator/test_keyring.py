from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="


@pytest.mark.parametrize(
    "words", [("operator", "keygen"), ("operator", "gossip", "keyring", "generate")]
)
def test_a_key_is_32_random_bytes(cli: Callable[..., Any], words: tuple[str, ...]) -> None:
    first, second = cli(*words), cli(*words)
    assert len(base64.b64decode(first.out, validate=False)) == 32
    assert first.out != second.out
    assert cli(*words, "x").err.startswith("This command takes no arguments\n")


@pytest.mark.parametrize(
    "words", [("operator", "keyring", "-list"), ("operator", "gossip", "keyring", "list")]
)
def test_keys_are_listed(cli: Callable[..., Any], server: Any, words: tuple[str, ...]) -> None:
    server.on("GET /v1/agent/keyring/list", {"Keys": {"b=": 1, "a=": 1}})
    assert cli(*words).out == "Gathering installed encryption keys...\nKey\na=\nb=\n"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("install", "Installing new gossip encryption key...\n"),
        ("use", "Changing primary gossip encryption key...\n"),
        ("remove", "Removing gossip encryption key...\n"),
    ],
)
def test_a_key_is_changed_in_either_spelling(
    cli: Callable[..., Any], server: Any, action: str, said: str
) -> None:
    server.on(f"PUT /v1/agent/keyring/{action}", {"Messages": {}})
    assert cli("operator", "keyring", f"-{action}={KEY}").out == said
    assert cli("operator", "gossip", "keyring", action, KEY).out == said
    assert [request.json for request in server.requests] == [{"Key": KEY}] * 2


def test_a_failure_names_the_attempt_first(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/agent/keyring/install", b"illegal base64 data at input byte 0", 500)
    result = cli("operator", "keyring", "-install=abc")
    assert result.out == "Installing new gossip encryption key...\n"
    assert result.err == (
        "error: Unexpected response code: 500 (illegal base64 data at input byte 0)\n"
    )
    assert result.status == 1


def test_a_failure_on_all_nodes_is_explained(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/keyring/list", b"1/1 nodes reported failure", 500)
    result = cli("operator", "keyring", "-list")
    assert result.status == 1
    assert "a server's keys are in DATA_DIR/server/serf.keyring" in result.err
    assert result.err.endswith("500 (1/1 nodes reported failure)\n")


def test_exactly_one_action_is_wanted(cli: Callable[..., Any]) -> None:
    assert cli("operator", "keyring").err == (
        "No actionable argument was passed\n"
        "Either the '-install', '-use', '-remove' or '-list' flag must be set\n"
        "For additional help try 'nomad operator keyring -help'\n"
    )
    assert cli("operator", "keyring", "-list", "-install=x").err == (
        "Only a single action is allowed\nFor additional help try 'nomad operator keyring -help'\n"
    )


def test_the_old_spellings_work_and_say_the_new_one(cli: Callable[..., Any], server: Any) -> None:
    result = cli("keygen")
    assert len(base64.b64decode(result.out)) == 32
    assert result.err == "'nomad keygen' is an old spelling of 'nomad operator keygen'\n"
    server.on("GET /v1/agent/keyring/list", {"Keys": {"a=": 1}})
    assert cli("keyring", "-list").out.endswith("Key\na=\n")
