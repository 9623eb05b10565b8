from __future__ import annotations

from tests.support.settings_checks import check, errors, warnings


def test_dev_with_a_client_in_a_shared_file_starts():
    assert errors({"client.enabled": True}, dev=True) == []


def test_a_server_with_the_client_enabled_starts_with_one_warning():
    assert errors({"client.enabled": True}) == []
    assert warnings({"client.enabled": True}) == [
        "WARNING: client.enabled: bellcow has no client part yet; this agent is a server only"
    ]


def test_the_refusal_of_an_agent_without_a_role_names_a_command_to_try():
    (problem,) = check({"server.enabled": False})
    assert problem.places[0].startswith("try: bellcow agent -dev; ")
