from __future__ import annotations

from bellcow.cli.shell.settings import Settings, read_settings


def test_without_anything_the_local_agent_is_asked() -> None:
    assert read_settings({}, {}) == Settings(address="http://127.0.0.1:4646")


def test_a_flag_beats_our_variable_and_ours_beats_the_other() -> None:
    both = {"BELLCOW_TOKEN": "ours", "NOMAD_TOKEN": "theirs"}
    assert read_settings({"token": "flag"}, both).token == "flag"
    assert read_settings({"token": None}, both).token == "ours"
    assert read_settings({}, {"NOMAD_TOKEN": "theirs"}).token == "theirs"


def test_an_empty_value_counts_as_not_given() -> None:
    environment = {"BELLCOW_ADDR": "", "NOMAD_ADDR": "http://n:1"}
    assert read_settings({"address": ""}, environment).address == "http://n:1"


def test_an_address_without_a_scheme_gets_one() -> None:
    assert read_settings({"address": "127.0.0.1:22010"}, {}).address == "http://127.0.0.1:22010"
    assert read_settings({"address": "unix:///run/x"}, {}).address == "unix:///run/x"


def test_every_variable_is_read() -> None:
    names = {
        "ADDR": "https://h:1",
        "REGION": "r",
        "NAMESPACE": "n",
        "TOKEN": "t",
        "CACERT": "ca",
        "CAPATH": "dir",
        "CLIENT_CERT": "c",
        "CLIENT_KEY": "k",
        "TLS_SERVER_NAME": "s",
        "SKIP_VERIFY": "true",
        "HTTP_AUTH": "u:p",
    }
    assert read_settings({}, {f"NOMAD_{name}": value for name, value in names.items()}) == Settings(
        address="https://h:1",
        region="r",
        namespace="n",
        token="t",
        ca_cert="ca",
        ca_path="dir",
        client_cert="c",
        client_key="k",
        tls_server_name="s",
        tls_skip_verify=True,
        http_auth="u:p",
    )


def test_certificates_go_unchecked_only_when_that_is_clearly_asked_for() -> None:
    assert read_settings({"insecure": True}, {}).tls_skip_verify
    assert read_settings({"tls_skip_verify": True}, {}).tls_skip_verify
    assert not read_settings({}, {"NOMAD_SKIP_VERIFY": "maybe"}).tls_skip_verify


def test_other_flags_are_left_to_the_command() -> None:
    given = {"address": "x", "no_color": True, "stale": True}
    read_settings(given, {})
    assert given == {"stale": True}
