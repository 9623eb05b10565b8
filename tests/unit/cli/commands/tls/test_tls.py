from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from bellcow.config.certificates import Pem, Wanted, find_flaws

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHORITY = ("nomad-agent-ca.pem", "nomad-agent-ca-key.pem")
SERVER = ("global-server-nomad.pem", "global-server-nomad-key.pem")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def done(result: Any) -> Any:
    assert result.status == 0, result.err
    return result


def names(file: str) -> set[str]:
    cert = x509.load_pem_x509_certificate(Path(file).read_bytes())
    listed = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in listed}


def flaws(
    files: tuple[str, str], *hosts: str, region: str = "global", days: float = 0
) -> list[str]:
    ca, cert, key = (Pem(name, Path(name).read_bytes()) for name in (AUTHORITY[0], *files))
    wanted = Wanted(hosts=hosts, name=f"server.{region}.nomad", region=region)
    now = datetime.fromtimestamp(datetime.now(UTC).timestamp() + days * 86400, UTC)
    return [flaw.text for flaw in find_flaws(cert, key, ca, wanted, now)]


def test_the_made_certificate_passes_the_checks_of_a_start(cli: Callable[..., Any]) -> None:
    result = done(cli("tls", "ca", "create"))
    assert result.out == (
        "==> CA certificate saved to: nomad-agent-ca.pem\n"
        "==> CA certificate key saved to: nomad-agent-ca-key.pem\n"
    )
    result = done(cli("tls", "cert", "create", "-server", "-additional-ipaddress=10.0.0.5"))
    assert result.out == (
        "==> Using CA file nomad-agent-ca.pem and CA key nomad-agent-ca-key.pem\n"
        "==> Server Certificate saved to global-server-nomad.pem\n"
        "==> Server Certificate key saved to global-server-nomad-key.pem\n"
    )
    assert result.err.startswith("==> WARNING: anyone with the key of a server's certificate")
    assert flaws(SERVER, "10.0.0.5", "localhost", "127.0.0.1") == []
    assert "expires in 29 days" in flaws(SERVER, "10.0.0.5", days=335)[0]


def test_the_command_in_the_refusal_of_a_start_mends_the_flaw(cli: Callable[..., Any]) -> None:
    done(cli("tls", "ca", "create"))
    done(cli("tls", "cert", "create", "-server", "-region=eu"))
    files = ("eu-server-nomad.pem", "eu-server-nomad-key.pem")
    found = flaws(files, "fd00::1", "one.example", region="eu")
    assert len(found) == 2
    (command,) = {text.partition("make another: ")[2] for text in found}
    for file in files:
        Path(file).unlink()
    done(cli(*command.split()[1:]))
    assert flaws(files, "fd00::1", "one.example", region="eu") == []


def test_keys_are_for_their_owner_alone_and_certificates_for_everybody(
    cli: Callable[..., Any],
) -> None:
    before = os.umask(0)
    try:
        done(cli("tls", "ca", "create"))
        done(cli("tls", "cert", "create", "-server"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path().iterdir()}
    assert modes == dict(zip((*AUTHORITY, *SERVER), (0o644, 0o600) * 2, strict=True))


ROLES = {
    "server": {"server.eu.nomad", "localhost", "127.0.0.1"},
    "client": {"client.eu.nomad", "localhost", "127.0.0.1"},
    "cli": {"cli.eu.nomad", "localhost"},
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_its_names_and_files(cli: Callable[..., Any], role: str) -> None:
    done(cli("tls", "ca", "create"))
    result = done(cli("tls", "cert", "create", f"-{role}", "-region=eu"))
    assert names(f"eu-{role}-nomad.pem") == ROLES[role]
    assert f"Certificate key saved to eu-{role}-nomad-key.pem\n" in result.out
    assert bool(result.err) is (role == "server")


def test_the_region_comes_from_the_environment_too(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("NOMAD_REGION", "eu")
    done(cli("tls", "ca", "create"))
    done(cli("tls", "cert", "create", "-server"))
    done(cli("tls", "cert", "create", "-server", "-cluster-region=asia"))
    assert Path("eu-server-nomad.pem").exists()
    assert "server.asia.nomad" in names("asia-server-nomad.pem")


def test_a_constraint_holds_for_what_the_authority_signs(cli: Callable[..., Any]) -> None:
    words = ("-name-constraint", "-domain=corp", "-additional-domain=example.org")
    done(cli("tls", "ca", "create", *words, "-common-name=Ours"))
    make = ("tls", "cert", "create", "-server", "-domain=corp")
    result = cli(*make, "-additional-dnsname=one.example.com")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "the authority may not sign for one.example.com, only for names in corp, localhost, "
        "nomad, example.org\n"
    )
    done(cli(*make, "-additional-dnsname=one.example.org"))
    found = names("global-server-corp.pem")
    assert {"server.global.corp", "server.global.nomad", "one.example.org"} < found


@pytest.mark.parametrize("present", [*AUTHORITY, *SERVER])
def test_nothing_is_overwritten(cli: Callable[..., Any], present: str) -> None:
    if present in SERVER:
        done(cli("tls", "ca", "create"))
    Path(present).write_text("precious")
    command = ("cert", "create", "-server") if present in SERVER else ("ca", "create")
    count = len(list(Path().iterdir()))
    result = cli("tls", *command)
    assert (result.status, result.out) == (1, "")
    assert f"'{present}' already exists" in result.err
    assert Path(present).read_text() == "precious"
    assert len(list(Path().iterdir())) == count


REFUSED = {
    "no role": ((), "Please provide either -server, -client, or -cli"),
    "two roles": (("-server", "-cli"), "Please provide either -server, -client, or -cli"),
    "no authority": (("-server", "-ca="), "Please provide the ca"),
    "no key": (("-server", "-key="), "Please provide the key"),
    "authority missing": (
        ("-server", "-ca=no.pem"),
        "Error reading CA: open no.pem: no such file or directory",
    ),
    "key missing": (
        ("-server", "-key=no.pem"),
        "Error reading CA key: open no.pem: no such file or directory",
    ),
    "authority is a key": (
        ("-server", f"-ca={AUTHORITY[1]}"),
        "the file of the authority holds no certificate in PEM form",
    ),
    "key is an authority": (("-server", f"-key={AUTHORITY[0]}"), "holds no private key"),
    "another key": (("-server", "-key=other.pem"), "the key is not that of the authority"),
    "address": (("-server", "-additional-ipaddress=10.0.0"), "not an IP address: '10.0.0'"),
    "name": (("-server", "-additional-dnsname=a b"), "not a DNS name: 'a b'"),
    "region": (("-server", "-region=../x"), "-region must be letters, digits, dots and hyphens"),
    "long region": (("-server", f"-region={'x' * 60}"), "a name of 1 to 64 characters is needed"),
    "no days": (("-server", "-days=0"), "-days must be between 1 and 36500"),
    "many days": (("-server", "-days=99999999"), "-days must be between 1 and 36500"),
    "longer than the authority": (
        ("-server", "-days=1826"),
        "the authority itself ends in 18",
    ),
    "an argument": (("-server", "x"), "This command takes no arguments"),
}


@pytest.mark.parametrize(("words", "reason"), REFUSED.values(), ids=REFUSED)
def test_bad_flags_are_refused_and_no_file_is_written(
    cli: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "else").mkdir()
    os.chdir(tmp_path / "else")
    done(cli("tls", "ca", "create"))
    Path(AUTHORITY[1]).rename(tmp_path / "other.pem")
    os.chdir(tmp_path)
    done(cli("tls", "ca", "create"))
    before = sorted(Path().iterdir())
    result = cli("tls", "cert", "create", *words)
    assert (result.status, result.out) == (1, "")
    assert reason in result.err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-domain=corp",), "Please provide the -name-constraint flag"),
        (("-additional-domain=corp",), "Please provide the -name-constraint flag"),
        (("-name-constraint", "-domain=a/b"), "-domain must be letters"),
        (("-name-constraint", "-additional-domain=a b"), "not a DNS name"),
        (("-days=-1",), "-days must be between"),
        ((f"-common-name={'x' * 65}",), "a name of 1 to 64 characters"),
    ],
)
def test_an_authority_that_cannot_be_is_not_made(
    cli: Callable[..., Any], words: tuple[str, ...], reason: str
) -> None:
    result = cli("tls", "ca", "create", *words)
    assert (result.status, result.out) == (1, "")
    assert reason in result.err
    assert list(Path().iterdir()) == []
