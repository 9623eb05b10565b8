"""The protection between servers, made from settings: which servers it accepts and refuses.

Real calls over loopback between the real client and the real port.
"""

from __future__ import annotations

import itertools
import shutil
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from tests.support.certificates import Authority, Pair
from tests.support.raw_http import run
from tests.support.wires import host

from bellcow.agent.peer_tls import (
    FOLDER,
    PeerSecurity,
    keep_key,
    peer_security,
    reload_peer_tls,
)
from bellcow.cluster.members.compose import compose
from bellcow.cluster.members.exchange import HELLO_PATH
from bellcow.cluster.members.schedule import Target
from bellcow.cluster.transport.client import PeerClient
from bellcow.cluster.transport.server_names import ServerNames
from bellcow.config import keyring
from bellcow.config.keys import put_value
from bellcow.config.model import Settings
from bellcow.errors import Error
from bellcow.model.hello import encode_hello

if TYPE_CHECKING:
    from tests.sim.net import Host

NAME = "server.global.nomad"


def settings(**changes: Any) -> Settings:
    made = Settings()
    for path, value in changes.items():
        made = put_value(made, path.replace("__", "."), value)
    return made


def with_files(pair: Pair, ca: str, **changes: Any) -> Settings:
    files = {"tls__cert_file": pair.cert, "tls__key_file": pair.key, "tls__ca_file": ca}
    return settings(**({"tls__rpc": True} | files | changes))


def security(made: Settings, folder: Path | None = None) -> PeerSecurity:
    return peer_security(made, ["127.0.0.1"], folder)


# --- what is made


def test_without_settings_nothing_is_asked():
    made = security(settings())
    assert (made.serve_with, made.call_with, made.etcd) == (None, None, None)
    assert not made.gate.proves


def test_names_are_checked_only_with_tls(tmp_path: Path):
    authority = Authority(tmp_path)
    changes = {"tls__verify_server_hostname": True, "region": "eu"}
    made = security(with_files(authority.sign(), authority.file, **changes))
    assert made.gate.proves
    assert (made.gate.names, made.gate.region) == (ServerNames("nomad"), "eu")
    assert not security(settings(tls__verify_server_hostname=True)).gate.proves


def test_etcd_gets_absolute_paths_and_the_required_name(tmp_path: Path, monkeypatch):
    authority = Authority(tmp_path)
    authority.sign("mine")
    monkeypatch.chdir(tmp_path)
    pair = Pair("mine.pem", "mine-key.pem")
    etcd = security(with_files(pair, "ca.pem")).etcd
    assert etcd is not None
    assert (etcd.cert_file, etcd.key_file) == tuple(str(tmp_path / each) for each in pair)
    assert (etcd.ca_file, etcd.name) == (authority.file, "")
    etcd = security(with_files(pair, "ca.pem", tls__verify_server_hostname=True)).etcd
    assert etcd is not None
    assert etcd.name == NAME


@pytest.mark.parametrize("missing", ["cert", "key", "ca"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, missing: str):
    authority = Authority(tmp_path)
    made = with_files(authority.sign(), authority.file, **{f"tls__{missing}_file": "nowhere.pem"})
    with pytest.raises(Error, match=r"cannot read nowhere\.pem"):
        security(made)


# --- the key


def comes_to_terms(one: PeerSecurity, other: PeerSecurity) -> bool:
    """Whether each takes the other's calls."""

    said: list[str] = []

    async def both() -> None:
        async with serving(one) as first, serving(other) as second:
            said.extend([await call(first, other), await call(second, one)])

    run(both())
    return said == ["", ""]


OLD, NEW = "b29vb29vb29vb29vb29vbw==", "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4="


def test_key_of_the_settings_is_written_once_and_counts_from_then_on(tmp_path: Path):
    old = settings(data_dir=str(tmp_path), server__encrypt=OLD)
    new = settings(data_dir=str(tmp_path), server__encrypt=NEW)
    (tmp_path / "server").mkdir()
    assert keep_key(old)
    path = tmp_path / "server" / keyring.NAME
    assert path.read_text() == f'["{OLD}"]'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not keep_key(new)
    assert comes_to_terms(security(new), security(settings(server__encrypt=OLD)))
    assert not comes_to_terms(security(new), security(settings(server__encrypt=NEW)))
    assert [each.name for each in path.parent.iterdir()] == [keyring.NAME]


def test_no_key_is_written_without_a_key_or_a_directory(tmp_path: Path):
    assert not keep_key(settings(data_dir=str(tmp_path)))
    assert not keep_key(settings(server__encrypt=OLD))
    assert list(tmp_path.iterdir()) == []


def test_key_that_cannot_be_written_ends_the_start(tmp_path: Path):
    made = settings(data_dir=str(tmp_path), server__encrypt=OLD)  # without its folder `server`
    with pytest.raises(Error, match="failed to configure keyring: cannot write"):
        keep_key(made)


def test_a_key_is_changed_on_one_server_after_the_other(tmp_path: Path):
    def kept(*keys: str) -> PeerSecurity:
        path = tmp_path / "server" / keyring.NAME
        path.parent.mkdir(exist_ok=True)
        path.write_text("[" + ",".join(f'"{key}"' for key in keys) + "]")
        return security(settings(data_dir=str(tmp_path)))

    steps = [kept(OLD), kept(OLD, NEW), kept(NEW, OLD), kept(NEW)]
    for before, after in itertools.pairwise(steps):
        assert comes_to_terms(before, after)
    assert not comes_to_terms(steps[0], steps[3])


def test_issued_files_are_private_and_new_at_each_start(tmp_path: Path):
    made = settings(server__encrypt=OLD, region="eu")
    etcd = security(made, tmp_path).etcd
    assert etcd is not None
    assert (etcd.name, etcd.any_source) == ("server.eu.bellcow", True)
    folder = tmp_path / FOLDER
    assert {etcd.cert_file, etcd.key_file, etcd.ca_file} == {str(p) for p in folder.iterdir()}
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600] * 3
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    first = Path(etcd.cert_file).read_bytes(), Path(etcd.key_file).read_bytes()
    assert security(made, tmp_path).etcd == etcd
    second = Path(etcd.cert_file).read_bytes(), Path(etcd.key_file).read_bytes()
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_a_server_that_keeps_nothing_has_a_certificate_all_the_same():
    one, other = (security(settings(server__encrypt=OLD)) for _ in range(2))
    assert one.etcd is None
    assert comes_to_terms(one, other)


def test_server_of_another_region_with_the_key_is_recognized():
    here, abroad = (security(settings(server__encrypt=OLD, region=each)) for each in ("x", "EU 1"))
    with pytest.raises(Error, match=r"certificate is not one of server\.x\.bellcow"):
        here.gate.check(names_of(abroad), "x")
    here.gate.check(names_of(abroad), "EU 1")
    here.gate.check_any(names_of(abroad))


def names_of(made: PeerSecurity) -> set[str]:
    assert made.gate.names is not None
    return {made.gate.names.of(made.gate.region)}


def test_the_operator_s_certificates_win_over_a_key(tmp_path: Path):
    authority = Authority(tmp_path)
    both = security(with_files(authority.sign(dns=NAME), authority.file, server__encrypt=OLD))
    assert both.protection == "certificates"
    assert comes_to_terms(both, server_of(authority, name="two", verify=False))


def test_a_keyring_that_cannot_be_read_stops_the_start(tmp_path: Path):
    (tmp_path / "server" / keyring.NAME).mkdir(parents=True)
    with pytest.raises(Error, match="failed to configure keyring"):
        security(settings(data_dir=str(tmp_path)))


# Which servers are accepted


async def call(there: Host, security: PeerSecurity) -> str:
    """Why a hello from a server with this security was refused, "" when it was answered."""
    me = there.roster.itself
    target = Target(server_id=me.server_id, address=me.serf, region=me.region)
    async with (
        host("caller", run=False) as caller,
        PeerClient(tls=security.call_with, names=security.gate.names) as client,
    ):
        now = caller.clock.monotonic()
        body = encode_hello(compose(caller.roster.table, caller.look(), now, abroad=False))
        try:
            await client.post(target, HELLO_PATH, body)
        except Error as error:
            return error.message
        return ""


def serving(made: PeerSecurity) -> Any:
    return host("a", run=False, serve_with=made.serve_with, names=made.gate.names)


def server_of(authority: Authority, ca: str = "", *, verify: bool = True, **signed: Any) -> Any:
    pair = authority.sign(**({"dns": NAME, "name": "one"} | signed))
    return security(with_files(pair, ca or authority.file, tls__verify_server_hostname=verify))


BOTH = (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)


@pytest.mark.parametrize("verify", [True, False])
async def test_servers_with_the_right_certificates_come_to_terms(tmp_path: Path, verify: bool):
    authority = Authority(tmp_path)
    here = server_of(authority, verify=verify, usages=BOTH)
    other = server_of(authority, verify=verify, usages=BOTH, name="two")

    async with serving(here) as there:
        assert await call(there, other) == ""
        assert "id-caller" in there.roster.table.known


CALLERS = {
    "expired": {"expired": True},
    "for servers only": {"usages": BOTH[:1]},
    "another region's server": {"dns": "server.eu.nomad"},
    "a client's": {"dns": "client.global.nomad"},
    "nobody's": {"dns": ""},
}


@pytest.mark.parametrize("signed", CALLERS.values(), ids=CALLERS)
def test_a_caller_with_a_wrong_certificate_is_refused(tmp_path: Path, signed: dict[str, Any]):
    authority = Authority(tmp_path)
    here, caller = server_of(authority), server_of(authority, **(signed | {"name": "two"}))
    refused(here, caller)


def test_a_caller_without_a_certificate_is_refused(tmp_path: Path):
    authority = Authority(tmp_path)
    here = server_of(authority)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(authority.file)
    refused(here, PeerSecurity(**(fields(here) | {"call_with": bare})))


def test_a_caller_of_another_authority_is_refused(tmp_path: Path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    refused(server_of(authority), server_of(other, authority.file, name="two"))


def test_a_caller_without_tls_is_refused(tmp_path: Path):
    refused(server_of(Authority(tmp_path)), security(settings()))


def fields(security: PeerSecurity) -> dict[str, Any]:
    return {name: getattr(security, name) for name in security.__struct_fields__}


def refused(here: PeerSecurity, caller: PeerSecurity) -> None:
    """The call fails, changes nothing there, and is said there once."""

    async def test() -> None:
        async with serving(here) as there:
            assert await call(there, caller) != ""
            assert there.roster.table.known == {}
            said = [name for name, _ in there.events]
            assert said in (["tls_handshake_failed"], ["peer_refused"])

    run(test())


SERVERS = {
    "expired": ({"expired": True}, "expired"),
    "for clients only": ({"usages": BOTH[1:]}, "purpose"),
    "another region's server": ({"dns": "server.eu.nomad"}, "Hostname mismatch"),
    "a client's": ({"dns": "client.global.nomad"}, "Hostname mismatch"),
}


@pytest.mark.parametrize(("signed", "reason"), SERVERS.values(), ids=SERVERS)
def test_server_with_a_wrong_certificate_gets_no_answer(tmp_path: Path, signed, reason):
    authority = Authority(tmp_path)
    told_nothing(server_of(authority, **signed), server_of(authority, name="two"), reason)


def test_server_of_another_authority_gets_no_answer(tmp_path: Path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    here = server_of(other, authority.file)
    told_nothing(here, server_of(authority, name="two"), "unable to get local issuer")


def test_without_names_the_address_counts(tmp_path: Path):
    authority = Authority(tmp_path)
    here = server_of(authority, ip="10.0.0.5", verify=False)
    caller = server_of(authority, name="two", verify=False)
    told_nothing(here, caller, "IP address mismatch")


def told_nothing(here: PeerSecurity, caller: PeerSecurity, reason: str) -> None:
    async def test() -> None:
        async with serving(here) as there:
            assert reason in await call(there, caller)
            assert there.roster.table.known == {}
            assert there.saw("peer_refused") == []

    run(test())


# --- new files


async def test_new_files_count_for_the_calls_to_come(tmp_path: Path):
    (tmp_path / "new").mkdir()
    old, new = Authority(tmp_path), Authority(tmp_path / "new", "new")
    pair = old.sign(dns=NAME)
    made = with_files(pair, old.file, tls__verify_server_hostname=True)
    here, there = security(made), security(made)
    stranger = server_of(new)

    async with serving(here) as server:
        assert await call(server, there) == ""
        assert await call(server, stranger) != ""
        for one, other in zip((*pair, old.file), (*new.sign(dns=NAME), new.file), strict=True):
            shutil.copy(other, one)
        assert reload_peer_tls(here, made.tls) == 1
        assert await call(server, stranger) == ""
        assert await call(server, there) != ""
        assert reload_peer_tls(there, made.tls) == 1
        assert await call(server, there) == ""


async def test_bad_files_change_nothing(tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.sign(dns=NAME)
    made = with_files(pair, authority.file)
    here = security(made)
    Path(pair.key).write_text("no key")

    async with serving(here) as server:
        with pytest.raises(Error, match="holds no private key"):
            reload_peer_tls(here, made.tls)
        assert await call(server, here) == ""


def test_other_paths_need_a_restart_because_of_etcd(tmp_path: Path):
    authority = Authority(tmp_path)
    here = security(with_files(authority.sign(), authority.file))
    other = with_files(authority.sign("other"), authority.file)
    with pytest.raises(Error, match="need a restart"):
        reload_peer_tls(here, other.tls)
    assert reload_peer_tls(security(settings()), other.tls) == 0


def test_server_without_a_key_does_not_load_the_signing_library():
    text = (
        "import sys\n"
        "import bellcow.agent.main\n"
        "from bellcow.agent.peer_tls import peer_security\n"
        "from bellcow.config.model import Settings\n"
        "peer_security(Settings(), [], None)\n"
        "print({'cryptography', 'grpc'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
