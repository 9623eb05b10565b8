from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _no_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input as under cron: a device that ends at once."""
    with Path("/dev/null").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield


def test_the_body_is_printed_as_it_came(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/status/leader?pretty=", b'"127.0.0.1:1"')
    result = cli("operator", "api", "/v1/status/leader?pretty=")
    assert (result.status, result.out) == (0, '"127.0.0.1:1"')


def test_the_method_and_the_headers_are_sent(cli: Callable[..., Any], server: Any) -> None:
    server.on("DELETE /v1/x")
    cli("operator", "api", "-X", "delete", "-H", "A: b: c", "-H=D: e", "-filter=F == 1", "v1/x")
    request = server.requests[0]
    assert (request.method, request.target) == ("DELETE", "/v1/x?filter=F+%3D%3D+1")
    assert (request.headers["A"], request.headers["D"]) == ("b: c", "e")


def test_a_pipe_is_the_body_of_a_post(cli: Callable[..., Any], server: Any, tmp_path: Any) -> None:
    server.on("POST /v1/x", b"ok")
    (tmp_path / "body").write_text("{}")
    with (tmp_path / "body").open() as file:
        old, sys.stdin = sys.stdin, file
        try:
            assert cli("operator", "api", "/v1/x").out == "ok"
        finally:
            sys.stdin = old
    assert server.requests[0].body == b"{}"


def test_a_whole_url_names_the_server(
    cli: Callable[..., Any], server: Any, environment: pytest.MonkeyPatch
) -> None:
    server.on("GET /v1/x", b"ok")
    environment.setenv("NOMAD_ADDR", "http://127.0.0.1:1")
    assert cli("operator", "api", f"{server.address}/v1/x").out == "ok"


def test_an_error_is_a_failure_only_when_asked(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/x", b"no", 403)
    assert cli("operator", "api", "/v1/x").status == 0
    result = cli("operator", "api", "-fail", "/v1/x")
    assert (result.status, result.out, result.err) == (1, "no", "")


def test_verbose_shows_the_exchange(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/x", b"ok")
    lines = cli("operator", "api", "-verbose", "/v1/x").err.splitlines()
    assert lines[:2] == ["> GET /v1/x HTTP/1.1", "< HTTP/1.1 200"]
    assert "< Content-Length: 2" in lines


def test_a_dry_run_prints_curl_without_the_secret(cli: Callable[..., Any], server: Any) -> None:
    result = cli("operator", "api", "-dryrun", "-X=PUT", "-H=A: b", "-token=geheim", "/v1/x")
    assert result.out == (
        "curl \\\n  -X PUT \\\n  -H 'A: b' \\\n"
        f'  -H "X-Nomad-Token: ${{BELLCOW_TOKEN}}" \\\n  {server.address}/v1/x\n'
    )
    assert server.requests == []


def test_a_dry_run_names_the_variable_the_token_is_in(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("NOMAD_TOKEN", "geheim")
    assert "${NOMAD_TOKEN}" in cli("operator", "api", "-dryrun", "/v1/x").out
    environment.setenv("BELLCOW_TOKEN", "geheim")
    assert "${BELLCOW_TOKEN}" in cli("operator", "api", "-dryrun", "/v1/x").out


def test_a_dry_run_prints_the_same_authorities_and_body_as_the_request(
    cli: Callable[..., Any], tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "body").write_text("{}")
    environment.setenv("BELLCOW_CACERT", str(tmp_path / "ca.pem"))
    with (tmp_path / "body").open() as file:
        old, sys.stdin = sys.stdin, file
        try:
            out = cli("operator", "api", "-dryrun", "-tls-skip-verify", "/v1/x").out
        finally:
            sys.stdin = old
    lines = [line.rstrip(" \\").strip() for line in out.splitlines()]
    assert lines[1:5] == [
        "-X POST",
        f"--cacert {tmp_path}/ca.pem",
        "--insecure",
        "--data-binary @-",
    ]


def test_a_malformed_request_is_refused(cli: Callable[..., Any]) -> None:
    assert cli("operator", "api").err.startswith("A path or URL is required\n")
    assert cli("operator", "api", "a", "b").err.startswith(
        "operator api accepts exactly 1 argument, but 2 arguments were found\n"
    )
    assert cli("operator", "api", "-H", "bad", "/x").err.startswith("Not a header: 'bad'")
    assert cli("operator", "api", "-address=http://127.0.0.1:1", "/x").err.startswith(
        'Error making request: Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: '
    )


def test_an_error_without_a_text_is_printed(cli: Callable[..., Any], server: Any) -> None:
    result = cli("operator", "api", "-X=GET", "/v1/nope", stdin=b"")
    assert (result.status, result.out) == (0, "")
    assert result.err == "The answer is 404, without a text\n"
    server.on("GET /v1/empty")
    assert cli("operator", "api", "-X=GET", "/v1/empty", stdin=b"").err == ""
