"""Which texts can name a server to join, and what they name."""

from __future__ import annotations

import pytest

from bellcow.config.joins import join_fault, split_join_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", ("10.0.0.1", 4648)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("nomad-servers", ("nomad-servers", 4648)),
        ("nomad.service.consul:4648", ("nomad.service.consul", 4648)),
        ("tasks.nomad_server", ("tasks.nomad_server", 4648)),
        ("fd00::1", ("fd00::1", 4648)),
        ("[fd00::1]", ("fd00::1", 4648)),
        ("[fd00::1]:80", ("fd00::1", 80)),
        ("fe80::1%eth0", ("fe80::1%eth0", 4648)),
    ],
)
def test_a_server_is_named_with_or_without_its_port(text, address):
    assert join_fault(text) == ""
    assert split_join_address(text) == address


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        ("provider=aws tag_key=nomad tag_value=server", "(provider=...) is not supported"),
        ("tag_key=x provider=gce", "(provider=...) is not supported"),
        ("exec=/usr/bin/list", "(exec=...) is not supported"),
        ("https://nomad.example", "it is a URL"),
        ("a,b,c", "several addresses"),
        ("a b", "several addresses"),
        (" a", "spaces"),
        ("%%SERVERS%%", "placeholder"),
        ("<server>", "placeholder"),
        ("${servers}", "placeholder"),
        ("{{ GetPrivateIP }}", "several addresses"),
        ("a..b", "neither an address nor a host name"),
        ("host:port", "the port is not a number"),
        ("host:99999", "the port is not a number"),
        ("host:0", "the port is not a number"),
        (f"a.{'b' * 64}.c", "a part of the host name has 64 characters; 63 are allowed"),
        (".".join(["b" * 63] * 4), "the host name has 255 characters"),
    ],
)
def test_a_text_that_names_no_server_is_explained(text, fault):
    assert fault in join_fault(text)
