from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Authority
from tests.support.settings_checks import check, errors, warnings

from bellcow.config.keys import put_value
from bellcow.config.model import Settings
from bellcow.config.problem import Phase
from bellcow.config.tls import http_context, peer_contexts, try_handshake
from bellcow.errors import Error


def tls(tmp_path, *names, **more):
    """Settings with real files of these kinds, and none of the others."""
    authority = Authority(tmp_path, days=99)
    pair = authority.sign("cert", days=99)
    files = {"cert": pair.cert, "key": pair.key, "ca": authority.file}
    Path(pair.key).rename(tmp_path / "key.pem")
    files["key"] = str(tmp_path / "key.pem")
    Path(files["key"]).chmod(0o600)
    out = {f"tls.{name}_file": files[name] for name in names}
    return out | {f"tls.{name}": value for name, value in more.items()}


@pytest.mark.parametrize(
    ("names", "switches"),
    [
        (("cert", "key", "ca"), {"http": True, "verify_https_client": True}),
        (("cert", "key", "ca"), {}),
    ],
)
def test_tls_with_its_files_is_accepted(tmp_path, names, switches):
    assert check(tls(tmp_path, *names, **switches)) == []


def test_tls_for_http_alone_needs_no_authority(tmp_path):
    changes = tls(tmp_path, "cert", "key", http=True)
    assert errors(changes) == []
    assert warnings(changes) == [
        "WARNING: Error when parsing TLS configuration: open : no such file or directory"
    ]


@pytest.mark.parametrize(
    ("names", "switches", "messages"),
    [
        (
            (),
            {"http": True},
            [
                "tls.http needs tls.cert_file, which is not set",
                "tls.http needs tls.key_file, which is not set",
            ],
        ),
        (
            ("cert", "key"),
            {"http": True, "verify_https_client": True},
            ["tls.http needs tls.ca_file, which is not set"],
        ),
        (("cert", "key"), {"rpc": True}, ["tls.rpc needs tls.ca_file, which is not set"]),
        (
            ("cert", "ca"),
            {"rpc": True, "key_file": "/nowhere/key.pem"},
            [
                "tls.rpc needs tls.key_file, which cannot be read: no such file or directory",
            ],
        ),
    ],
)
def test_tls_without_its_files_is_refused_and_warned_of(tmp_path, names, switches, messages):
    changes = tls(tmp_path, *names, **switches)
    assert errors(changes) == [(Phase.AGENT, message) for message in messages]
    (warning,) = warnings(changes)
    assert warning.startswith("WARNING: Error when parsing TLS configuration: open ")


@pytest.mark.parametrize(("mode", "refused"), [(0o604, True), (0o602, True), (0o640, False)])
def test_a_key_that_everybody_can_read_is_refused(tmp_path, mode, refused):
    changes = tls(tmp_path, "cert", "key", "ca", http=True)
    (tmp_path / "key.pem").chmod(mode)
    found = errors(changes)
    assert bool(found) is refused
    if refused:
        path = tmp_path / "key.pem"
        message = f"tls.key_file is open to everybody: {path} has mode {mode:04o}"
        assert found == [(Phase.AGENT, message)]
    assert errors(changes, dev=True) == []


def with_certificate(folder, *, name="", **signed):
    """Settings of a server with `tls.rpc` and a certificate signed as asked for."""
    authority = Authority(folder)
    pair = authority.sign(dns=name, **signed)
    Path(pair.key).chmod(0o600)
    files = {"ca_file": authority.file, "cert_file": pair.cert, "key_file": pair.key}
    return {"tls.rpc": True, **{f"tls.{key}": value for key, value in files.items()}}


NAME = "server.global.nomad"


MEND = "; make another: bellcow tls cert create -server -additional-ipaddress=10.0.0.5"


def test_a_certificate_that_peers_accept_is_accepted(tmp_path):
    changes = with_certificate(tmp_path, name=NAME, ip="10.0.0.5", days=99)
    assert check(changes | {"tls.verify_server_hostname": True}) == []


def test_a_certificate_that_others_refuse_stops_the_start_of_several(tmp_path):
    changes = with_certificate(tmp_path, days=99) | {"tls.verify_server_hostname": True}
    cert = changes["tls.cert_file"]
    flaws = [
        f"{cert} does not name 10.0.0.5, which is advertised{MEND}",
        f"{cert} does not name {NAME}, which verify_server_hostname asks for{MEND}",
    ]
    assert errors(changes) == [(Phase.AGENT, flaw) for flaw in flaws]
    for several in ({"server.engine": "etcd"}, {"server.retry_join": ("10.0.0.6",)}):
        assert len(errors(changes | {"server.bootstrap_expect": 0} | several)) == 2


def test_a_single_server_gets_only_a_warning(tmp_path):
    changes = with_certificate(tmp_path, days=99) | {"server.bootstrap_expect": 0}
    assert errors(changes) == []
    assert warnings(changes) == [
        f"WARNING: {changes['tls.cert_file']} does not name 10.0.0.5, which is advertised{MEND}"
    ]


def test_a_certificate_of_another_authority_stops_every_start(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", days=99)
    other = Authority(tmp_path, "other").file
    found = errors(changes | {"tls.ca_file": other, "server.bootstrap_expect": 0})
    (message,) = [message for _, message in found]
    assert f"is signed by none of the authorities in {other}; make another: " in message


def test_a_certificate_that_expires_soon_gives_a_warning(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", days=12.5)
    assert errors(changes) == []
    (warning,) = warnings(changes)
    assert "server.pem expires in 12 days, on 20" in warning
    assert check(changes | {"tls.rpc": False}) == []


def test_a_certificate_that_has_expired_is_only_warned_of_where_http_alone_uses_it(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", expired=True)
    assert "expired on 20" in str(errors(changes))
    http = changes | {"tls.rpc": False, "tls.http": True}
    assert errors(http) == []
    (warning,) = warnings(http)
    assert "server.pem expired on 20" in warning


def locked(path):
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


BAD_FILES = {
    "garbage for a certificate": ("cert", lambda _: b"garbage"),
    "the key of another one": ("key", lambda path: Path(Authority(path.parent).sign("x").key)),
    "a locked key": ("key", locked),
    "garbage for the authorities": ("ca", lambda _: b"garbage"),
    "no authorities": ("ca", lambda _: b""),
    "an indented first line": ("cert", lambda path: b"  " + path.read_bytes()),
    "indented authorities": ("ca", lambda path: path.read_bytes().replace(b"\n", b"\n  ")),
    "two glued together": ("cert", lambda path: path.read_bytes().rstrip() + path.read_bytes()),
}


@pytest.mark.parametrize("switches", [{"http": True, "verify_https_client": True}, {"rpc": True}])
@pytest.mark.parametrize(("kind", "make"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_is_refused_exactly_where_the_agent_cannot_use_it(tmp_path, kind, make, switches):
    changes = tls(tmp_path, "cert", "key", "ca", **switches) | {"server.bootstrap_expect": 0}
    assert errors(changes) == []
    path = Path(changes[f"tls.{kind}_file"])
    made = make(path)
    path.write_bytes(made.read_bytes() if isinstance(made, Path) else made)
    settings = Settings()
    for name, value in changes.items():
        settings = put_value(settings, name, value)
    try:
        http_context(settings.tls)
        usable = not settings.tls.rpc or not try_handshake(*peer_contexts(settings.tls))
    except Error:
        usable = False
    assert (errors(changes) == []) is usable


def test_an_authority_that_may_not_sign_is_refused_in_the_words_of_the_handshake(tmp_path):
    authority = Authority(tmp_path, days=99)
    forger = authority.sign("forger", days=99)
    leaf = authority.sign_as(forger, "leaf", ip="10.0.0.5", days=99)
    Path(leaf.key).chmod(0o600)
    with Path(leaf.cert).open("ab") as file:
        file.write(Path(forger.cert).read_bytes())
    files = {"tls.ca_file": authority.file, "tls.cert_file": leaf.cert, "tls.key_file": leaf.key}
    ((_, message),) = errors({"tls.rpc": True} | files)
    assert "refuse each other: invalid CA certificate" in message
