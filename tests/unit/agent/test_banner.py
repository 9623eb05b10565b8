"""What is printed when an agent starts."""

from __future__ import annotations

import io
import sys

import msgspec
import pytest

from bellcow.agent import banner
from bellcow.config.addresses import resolve_addresses
from bellcow.config.model import Settings
from bellcow.config.server_block import Server


def shown(*, dev: bool, consensus: bool = True, **fields) -> list[str]:
    settings = msgspec.structs.replace(Settings(), bind_addr="127.0.0.1", **fields)
    addresses = resolve_addresses(settings, True)
    return list(banner.lines(settings, addresses, dev=dev, consensus=consensus))


def test_facts_are_shown_sorted_and_aligned():
    lines = shown(dev=False)
    assert lines[0] == "==> Nomad agent configuration:"
    assert lines[-2] == "==> Nomad agent started! Log data will stream in below:"
    facts = [line for line in lines if line.startswith("    ") and ": " in line]
    names = [line.strip().partition(":")[0] for line in facts]
    assert names == sorted(names)
    assert {line.index(": ") for line in facts} == {22}
    assert any("HTTP: 127.0.0.1:4646; RPC: 127.0.0.1:4647" in line for line in facts)


def test_a_server_alone_does_not_claim_to_listen_for_consensus():
    lines = shown(dev=False, consensus=False)
    assert "        Bind Addrs: HTTP: 127.0.0.1:4646; RPC: none; Serf: 127.0.0.1:4648" in "\n".join(
        lines
    )


def test_unavailable_address_is_refused_with_advice():
    text = banner.not_an_address("http", ("10.9.9.9", 4646))
    assert "no address 10.9.9.9" in text
    assert "addresses { http = ... }" in text
    assert "Another program" not in text


def test_development_server_prints_the_first_steps():
    text = "\n".join(shown(dev=True))
    assert "http://127.0.0.1:4646/ui/" in text
    assert "operator autopilot health" in text
    assert "memory only" in text
    assert "Type next" not in "\n".join(shown(dev=False))


def test_banner_names_the_data_directory():
    assert "/var/x" in "\n".join(shown(dev=True, data_dir="/var/x"))


def test_program_is_named_as_it_can_be_typed_here(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/bellcow")])
    assert banner.program_path() == "bin/bellcow"
    monkeypatch.setattr(sys, "argv", ["/elsewhere/bellcow"])
    assert banner.program_path() == "/elsewhere/bellcow"


def test_port_in_use_is_refused_with_advice():
    text = banner.port_taken("http", ("127.0.0.1", 4646))
    assert "port 4646" in text
    assert "ports { http = 14646 }" in text


@pytest.mark.parametrize("to", ["out", "stdout"])
def test_lines_are_written_at_once(to, capsys):
    out = io.StringIO()
    banner.say(["a", "b"], out if to == "out" else None)
    assert (out.getvalue() if to == "out" else capsys.readouterr().out) == "a\nb\n"


@pytest.mark.parametrize(("program", "product"), [("bellcow", "bellcow"), ("nomad", "Nomad")])
def test_start_names_the_program_that_was_started(
    monkeypatch: pytest.MonkeyPatch, program: str, product: str
):
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{program}"])
    out = io.StringIO()
    banner.say(["==> Starting Nomad agent..."], out)
    assert out.getvalue() == f"==> Starting {product} agent...\n"


def test_banner_warns_of_open_ports_between_servers():
    settings = msgspec.structs.replace(Settings(), server=Server(open_peers=True))
    addresses = resolve_addresses(settings, True)
    lines = list(banner.lines(settings, addresses, dev=False, consensus=True))
    assert any("the ports between servers are open" in line for line in lines)
    assert not any("the ports between servers are open" in line for line in shown(dev=False))
