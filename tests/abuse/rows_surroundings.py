"""Section F: files, licenses, metrics and the end of the process.

A full disk, lost files and SIGKILL at any moment: tests/cluster.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.abuse.rows import left_out, row
from tests.abuse.rows_http import AUTOPILOT, LICENSE, SNAPSHOT, fill
from tests.abuse.wire import request
from tests.harness import BELLCOW

if TYPE_CHECKING:
    from pathlib import Path

    from tests.abuse.site import Site

SERIES_MAX = 2000

left_out("F1", "a full disk and a data directory without rights: tests/cluster")


@row("F2", "a store file that is no store", settings={}, limit_s=30)
def broken_store(site: Site) -> None:
    # Cut at every byte and flipped bits: tests/unit/store and tests/cluster.
    assert site.agent is not None
    site.agent.stop()
    store = site.agent.data_dir / "server" / "store.db"
    good = store.read_bytes()
    for broken in (b"", b"not a store " * 1000, good[:100] + b"\xff" * 3000 + good[3100:]):
        store.write_bytes(broken)
        code, said = start(site.agent.config_path)
        if code is None:
            assert not broken, "a broken store was taken as it was"
            continue
        assert code == 1, said
        assert "store.db" in said, said
        assert "Traceback" not in said, said
    store.write_bytes(good)
    site.agent.start()


def start(config: Path, *words: str) -> tuple[int | None, str]:
    """The exit status and the words of an agent that should not start; None when it does."""
    try:
        done = subprocess.run(
            [BELLCOW, "agent", f"-config={config}", *words],
            capture_output=True,
            timeout=5,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return None, ((late.stdout or b"") + (late.stderr or b"")).decode()
    return done.returncode, (done.stdout + done.stderr).decode()


CONFIGURATIONS: dict[str, tuple[str, str]] = {
    "type.hcl": ('server { enabled = "perhaps" }', "server.enabled"),
    "number.hcl": ("ports { http = [1, 2] }", "ports.http"),
    "key.hcl": ("server { enabeld = true }", "enabeld"),
    "top.hcl": ("unknwon_block { }", "unknwon_block"),
    "syntax.hcl": ("server {", ""),
    "deep.hcl": ("a {" * 100_000, ""),
    "lists.hcl": ("x = " + "[" * 100_000, ""),
    "large.hcl": ("# " + "x" * (10 << 20) + "\nserver { enabeld = true }", "larger than"),
    "keys.hcl": ("".join(f"key_{n} = {n}\n" for n in range(20_000)), "key_"),
    "binary.hcl": ("\x7fELF\x01\x01\0\0\xff", ""),
    "deep.json": ('{"a":' * 100_000, ""),
    "list.json": ("[]", ""),
    "type.json": ('{"server": {"bootstrap_expect": "two"}}', "bootstrap_expect"),
    "port.json": ('{"ports": {"http": 99999999}}', "ports.http"),
    "duration.json": ('{"autopilot": {"last_contact_threshold": "5 ducks"}}', "5 ducks"),
}


@row("F3", "configuration files of every wrong kind", local=True, limit_s=120)
def configurations(site: Site) -> None:
    assert site.agent is not None
    folder = site.agent.folder / "tmp" / "f3"
    folder.mkdir()
    for name, (text, key) in CONFIGURATIONS.items():
        path = folder / name
        path.write_text(text, encoding="latin-1")
        began = time.monotonic()
        code, said = start(path)
        assert code == 1, (name, code, said[-500:])
        assert time.monotonic() - began < 5, name
        assert "Traceback" not in said, (name, said[-2000:])
        assert name in said, (name, said[:500])
        assert key in said, (name, said[:500])
        assert len(said) < 100_000, (name, len(said))
        path.unlink()
    folder.rmdir()


@row("F3-modes", "a secret that others may read", local=True)
def open_secret(site: Site) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    assert site.agent is not None
    folder = site.agent.folder / "tmp" / "f3m"
    folder.mkdir()
    key = folder / "key.pem"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key.write_bytes(pem)
    key.chmod(0o644)
    config = folder / "agent.json"
    tls = {"http": True, "cert_file": str(key), "key_file": str(key), "ca_file": str(key)}
    config.write_text(
        json.dumps({"tls": tls, "data_dir": str(folder), "server": {"enabled": True}})
    )
    code, said = start(config)
    assert code == 1
    assert "tls.key_file" in said
    assert "chmod 0600" in said
    site.secrets.add_pem(pem.decode())
    assert not site.secrets.found_in(said)
    for path in (key, config):
        path.unlink()
    folder.rmdir()


def with_issuer(folder: Path) -> dict[str, Any]:
    """Settings of a server that believes one issuer, whose key stands beside them."""
    from bellcow.license.signature import new_key

    pem, issuer = new_key()
    (folder / "issuer-key.pem").write_text(pem)
    return {"license": {"issuers": [issuer]}}


def claims(**changed: object) -> dict[str, object]:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    return {
        "LicenseID": "lic-1",
        "CustomerID": "team",
        "InstallationID": "*",
        "IssueTime": (now - day).isoformat(),
        "StartTime": (now - day).isoformat(),
        "ExpirationTime": (now + day).isoformat(),
        "TerminationTime": (now + 2 * day).isoformat(),
        "Product": "nomad",
        "Features": ["Redundancy Zones"],
        **changed,
    }


def unsigned(header: dict[str, str], blob: str) -> str:
    """A blob with another header, its claims and its signature as they were."""
    return ".".join([_base64(json.dumps(header).encode()), *blob.split(".")[1:]])


def resigned(blob: str, pem: str, **changed: object) -> str:
    """A blob with other claims, signed as well as the issuer would, who refuses to."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    head = blob.partition(".")[0]
    payload = f"{head}.{_base64(json.dumps(claims(**changed)).encode())}"
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return f"{payload}.{_base64(key.sign(payload.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@row("F4", "licenses that are none", needs="acl", settings=with_issuer, writes=True)
def licenses(site: Site) -> None:
    from bellcow.license.rules import issue
    from bellcow.license.signature import new_key

    assert site.agent is not None
    pem = (site.agent.folder / "issuer-key.pem").read_text()
    stranger, _ = new_key()

    def blob(key: str = pem, **changed: object) -> str:
        return site.secrets.add(issue(claims(**changed), key), "license")

    good = blob()
    assert site.put(LICENSE, resigned(good, pem).encode()).status == 200, "the helper is right"
    assert site.put(LICENSE, good.encode()).status == 200
    kept = site.get(LICENSE).json()["License"]
    assert kept["LicenseID"] == "lic-1"
    now = datetime.now(UTC)
    past, future = ((now + timedelta(days=days)).isoformat() for days in (-1, 30))
    later = (now + timedelta(days=60)).isoformat()
    bad = {
        "another key": blob(stranger),
        "no algorithm": unsigned({"alg": "none"}, good),
        "no algorithm, no signature": unsigned({"alg": "none"}, good).rpartition(".")[0] + ".",
        "symmetric": unsigned({"alg": "HS256"}, good),
        "a key of its own": unsigned({"alg": "EdDSA", "jwk": "x"}, good),
        "changed": good[:-6] + ("AAAAAA" if good[-6:] != "AAAAAA" else "BBBBBB"),
        "without signature": good.rpartition(".")[0],
        "over": blob(StartTime=past, ExpirationTime=past, TerminationTime=past),
        "not yet": blob(StartTime=future, ExpirationTime=later, TerminationTime=later),
        "another product": resigned(good, pem, Product="vault"),
        "no dates": resigned(good, pem, StartTime="", ExpirationTime=5, TerminationTime=None),
        "a list for an object": resigned(good, pem, Features={"a": 1}, Flags=[]),
        "another installation": blob(InstallationID="3ec8e47d-8e11-1f72-b2b5-bda9f3ed7b91"),
        "empty": "",
        "points": "." * 1000,
        "words": "this is no license",
        "large": good + "A" * (900 << 10),
    }
    for why, text in bad.items():
        answer = site.put(LICENSE, text.encode())
        assert answer.status == 400, (why, answer)
        assert answer.text, why
        assert len(answer.text) < 1000, why
    for body in (b"\xff\xfe\0", b"\0" * 100):
        assert site.put(LICENSE, body).status == 400
    assert site.put(LICENSE, b"A" * (10 << 20)).status == 413
    assert site.get(LICENSE).json()["License"] == kept


left_out("F5", "nothing calls out yet: no webhook, sink or object storage")
left_out("F6", "names with markup on the page: tests/unit/api/routes/test_ui.py")
left_out("F7", "there is no event stream yet")


@row("F8", "labels of metrics made from what clients send", needs="acl")
def metric_labels(site: Site) -> None:
    def series() -> set[str]:
        answer = site.get("/v1/metrics?format=prometheus")
        lines = answer.text.splitlines() if answer.status == 200 else []
        return {line.rpartition(" ")[0] for line in lines if line[:1] != "#"}

    site.get(AUTOPILOT)
    before = series()
    for number in range(300):
        site.ask(f"M{number}", f"/v1/made/up/{number}?x{number}", token=f"t{number}" * 9)
        if number % 30 == 0:
            site.get(f"/v1/namespace/n{number}", headers={"User-Agent": f"u{number}"})
    grown = series() - before
    assert len(grown) < 20, grown
    assert len(series()) < SERIES_MAX


@row(
    "F9",
    "SIGTERM in the middle of every kind of request",
    needs="acl",
    settings={},
    writes=True,
    limit_s=15,
)
def stopped(site: Site) -> None:
    # SIGKILL at any moment: tests/cluster.
    assert site.agent is not None
    fill(site, 8)
    token = {"X-Nomad-Token": site.token}
    archive = site.get(SNAPSHOT).body
    digest = site.digest()
    begun = [
        request("GET", "/v1/acl/policies?index=999999&wait=60s", token),
        request("GET", "/v1/agent/monitor?log_level=debug", token),
        request("GET", SNAPSHOT, token),
        request("PUT", SNAPSHOT, token, archive)[:-50],
        request("PUT", AUTOPILOT, token, b"{}" + b" " * 99)[:-50],
        request("GET", AUTOPILOT, token)[:-10],
        b"",
    ]
    with contextlib.ExitStack() as stack:
        for raw in begun:
            sock = stack.enter_context(site.connected(receive_buffer=4096))
            sock.sendall(raw)
        time.sleep(0.2)
        began = time.monotonic()
        assert site.agent.stop() == 0
        assert time.monotonic() - began < 5
    with contextlib.suppress(OSError), socket.create_connection(site.address, 0.5):
        raise AssertionError("somebody still listens")
    site.agent.start()
    site.until(lambda: site.digest() == digest, "the state is another one after the restart")
