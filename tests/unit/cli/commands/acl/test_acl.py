from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = {
    "AccessorID": "cbf1e19d-1a60-85a0-b58f-1672a7c932ae",
    "SecretID": "331fd3e5-7ec5-c6b0-290c-2414c75b9878",
    "Name": "Bootstrap Token",
    "Type": "management",
    "Global": True,
    "Policies": None,
    "Hash": "x=",
    "CreateTime": "2026-11-23T13:59:47.257920011Z",
    "CreateIndex": 7,
    "ModifyIndex": 7,
}
BLOCK = """\
Accessor ID  = cbf1e19d-1a60-85a0-b58f-1672a7c932ae
Secret ID    = 331fd3e5-7ec5-c6b0-290c-2414c75b9878
Name         = Bootstrap Token
Type         = management
Global       = true
Policies     = n/a
Create Time  = 2026-11-23 13:59:47.257920011 +0000 UTC
Create Index = 7
Modify Index = 7
"""


def test_the_first_token_is_shown(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/bootstrap", TOKEN)
    result = cli("acl", "bootstrap")
    assert (result.status, result.out, result.err) == (0, BLOCK, "")
    assert server.requests[0].body == b""


def test_a_secret_of_ones_own_comes_from_a_file_or_standard_input(
    cli: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    server.on("PUT /v1/acl/bootstrap", TOKEN)
    (tmp_path / "secret").write_text("s1\n")
    cli("acl", "bootstrap", str(tmp_path / "secret"))
    cli("acl", "bootstrap", "-", stdin=b"s2\n")
    assert [request.json for request in server.requests] == [
        {"BootstrapSecret": "s1"},
        {"BootstrapSecret": "s2"},
    ]


def test_a_token_as_data_has_no_hash(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/bootstrap", TOKEN)
    shown = cli("acl", "bootstrap", "-json").out
    assert '"AccessorID": "cbf1' in shown
    assert "Hash" not in shown
    assert cli("acl", "bootstrap", "-t", "{{.SecretID}}").out == f"{TOKEN['SecretID']}\n"


def test_a_second_bootstrap_shows_the_index(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/bootstrap", b"ACL bootstrap already done (reset index: 7)", 400)
    assert cli("acl", "bootstrap").err == (
        "Error bootstrapping: Unexpected response code: 400 "
        "(ACL bootstrap already done (reset index: 7))\n"
    )


def test_two_arguments_are_too_many(cli: Callable[..., Any]) -> None:
    assert cli("acl", "bootstrap", "a", "b").err == (
        "This command takes up to one argument\n"
        "For additional help try 'nomad acl bootstrap -help'\n"
    )
