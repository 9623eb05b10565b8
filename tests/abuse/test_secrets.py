"""No secret of the run stands anywhere but where it was asked for.

The rows check their own answers and what they leave in the log. Here a server does everything that
touches a secret, then tells all it can about itself.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest
from tests.abuse.rows_http import LICENSE, RAFT, SNAPSHOT
from tests.abuse.rows_surroundings import claims, with_issuer
from tests.abuse.secret_registry import Secrets
from tests.abuse.wire import request
from tests.harness import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.abuse.site import Site, Sites

OUTPUTS = (
    "/v1/agent/self",
    "/v1/agent/self?pretty",
    "/v1/agent/host",
    "/v1/agent/members",
    "/v1/agent/health",
    "/v1/metrics",
    "/v1/metrics?format=prometheus",
    "/v1/acl/tokens",
    "/v1/acl/policies",
    "/v1/operator/license",
    RAFT,
    "/v1/namespaces",
)
ENCRYPT = "cg8StVXbQJ0gPvMd9o7yrg=="


@pytest.fixture(scope="module")
def site(sites: Sites) -> Iterator[Site]:
    if sites.remote:
        pytest.skip("needs a server of its own")

    def settings(folder):
        return {
            **with_issuer(folder),
            "server": {"encrypt": sites.secrets.add(ENCRYPT, "gossip key")},
            "acl": {
                "enabled": True,
                "replication_token": sites.secrets.add("deadbeef-repl-4000-8000-000000000303"),
            },
            "vault": {"token": sites.secrets.add("s.vault-token-of-this-run")},
            "consul": {"token": sites.secrets.add("consul-token-of-this-run")},
            "log_file": str(folder / "more.log"),
            "log_level": "TRACE",
        }

    with sites.own(settings, acl=True) as made:
        yield made


def use_secrets(site: Site) -> list[bytes]:
    """Make, use and misuse secrets of every kind; what is said on the way, and by the log."""
    from bellcow.license.rules import issue

    assert site.agent is not None
    pem = (site.agent.folder / "issuer-key.pem").read_text()
    license_ = site.secrets.add(issue(claims(), pem), "license")
    token = {"X-Nomad-Token": site.token}
    heard = b""
    with site.connected() as sock:
        sock.sendall(request("GET", "/v1/agent/monitor?log_level=trace&plain=1", token))
        heard += sock.recv(65536)
        said = [
            site.put(LICENSE, license_.encode()).body,
            site.put(LICENSE, b"x" + license_.encode()).body,
            site.get(f"{RAFT}?token={site.token}", token="").body,
            site.get(RAFT, token=site.wrong_token(300)).body,
            site.get(RAFT, headers={"Authorization": f"Bearer {site.wrong_token(301)}"}).body,
            site.put("/v1/acl/bootstrap", {"BootstrapSecret": site.wrong_token(302)}).body,
            site.put("/v1/acl/bootstrap", {"BootstrapSecret": site.token + "x"}).body,
            site.put("/v1/agent/keyring/install", {"Key": ENCRYPT}).body,
            site.put(f"/v1/acl/token/{site.token}", {"SecretID": site.token}).body,
            site.put(SNAPSHOT, site.get(SNAPSHOT).body[:-9] + site.token.encode()).body,
            site.put("/v1/acl/policy/p", {"Name": site.token[:8], "Rules": site.token}).body,
        ]
        client = site.make_token("client", 'operator { policy = "write" }')
        said.append(site.get("/v1/acl/tokens", token=client).body)
        said.append(site.ask("DELETE", f"/v1/acl/token/{site.accessor_of(client)}").body)
        said.append(site.get(RAFT, token=client).body)
        sock.settimeout(WAIT_S)
        while b"request refused" not in heard:
            piece = sock.recv(65536)
            assert piece, "the log was not followed"
            heard += piece
        sock.settimeout(0.3)
        try:
            while piece := sock.recv(65536):
                heard += piece
        except TimeoutError:
            pass
    return [*said, heard]


def test_no_secret_stands_in_any_output(site: Site, secrets: Secrets) -> None:
    assert site.agent is not None
    said = use_secrets(site)
    # A policy's rules are no secret: who writes one into them gets it back.
    said = [each for each in said if b"Invalid policy: " not in each]
    said += [site.get(path).body for path in OUTPUTS]
    for words in (
        ("acl", "token", "list"),
        ("acl", "token", "list", "-json"),
        ("agent-info",),
        ("operator", "raft", "list-peers"),
        ("operator", "api", "/v1/agent/self"),
        ("license", "get"),
        ("server", "members", "-detailed"),
        ("operator", "snapshot", "save", "-h"),
    ):
        done = site.agent.command(*words, token=site.token)
        said += [done.stdout.encode(), done.stderr.encode()]
    said += [path.read_bytes() for path in site.agent.folder.glob("*.log")]
    for text in said:
        assert not secrets.found_in(_readable(text)), secrets.found_in(_readable(text))


def _readable(text: bytes) -> str:
    """The text, and what stands in it in base64, as the frames of the monitor do."""
    inner = b" ".join(base64.b64decode(each) for each in re.findall(rb'"Data":"([^"]+)"', text))
    return (text + inner).decode("utf-8", "replace")


def test_no_secret_of_the_run_is_in_the_log_of_any_of_its_servers(
    sites: Sites, secrets: Secrets
) -> None:
    for each in sites.all():
        assert not secrets.found_in(each.log), secrets.found_in(each.log)


def test_a_secret_that_is_told_would_be_found(site: Site) -> None:
    answer = site.get("/v1/acl/token/self")
    assert site.secrets.found_in(answer.text)
    config = json.loads(site.agent.config_path.read_text()) if site.agent else {}
    assert site.secrets.found_in(json.dumps(config))
    empty = Secrets()
    assert not empty.found_in(answer.text)
