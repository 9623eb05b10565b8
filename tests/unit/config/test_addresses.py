"""Where to listen and what to tell others."""

from __future__ import annotations

import pytest

from bellcow.config import model
from bellcow.config.addresses import (
    AddressError,
    Machine,
    join_host_port,
    resolve_addresses,
    split_host_port,
    this_machine,
)
from bellcow.config.model import Settings

HOSTS = {"web.internal": ("10.9.9.9",), "two.internal": ("10.1.1.1", "10.1.1.2")}


def lookup(host):
    try:
        return HOSTS[host]
    except KeyError:
        raise OSError(f"no {host}") from None


MACHINE = Machine(
    {
        "lo": ("127.0.0.1", "::1"),
        "link": ("169.254.3.4",),
        "pub": ("8.8.4.4", "2001:4860::1"),
        "eth0": ("10.0.0.5", "10.0.0.6"),
    },
    lookup,
)
PUBLIC_ONLY = Machine({"lo": ("127.0.0.1",), "pub": ("8.8.4.4",)}, lookup)


def resolve(dev=False, machine=MACHINE, **values):
    settings = Settings()
    for path, value in values.items():
        settings = model.put(settings, path.replace("__", "."), value)
    return resolve_addresses(settings, dev, machine)


def test_any_address_is_listened_on_and_the_first_private_one_told():
    found = resolve()
    assert found.http_bind == ("0.0.0.0", 4646)
    assert found.rpc_bind == ("0.0.0.0", 4647)
    assert found.serf_bind == ("0.0.0.0", 4648)
    assert found.http_adv == ("10.0.0.5", 4646)
    assert found.rpc_adv == ("10.0.0.5", 4647)
    assert found.serf_adv == ("10.0.0.5", 4648)


@pytest.mark.parametrize(
    ("bind", "host"),
    [
        ("10.0.0.6", "10.0.0.6"),
        ('{{ GetInterfaceIP "eth0" }}', "10.0.0.5"),
        ('{{GetInterfaceIP "pub"}}', "8.8.4.4"),
        ("{{ GetPrivateIP }}", "10.0.0.5"),
        ("{{ GetPublicIP }}", "8.8.4.4"),
        ("{{ GetPublicIPs }}", "8.8.4.4"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_a_bind_address_is_listened_on_and_told(bind, host):
    found = resolve(bind_addr=bind)
    assert found.http_bind == found.http_adv == (host, 4646)


def test_a_host_name_is_listened_on_and_its_address_told():
    found = resolve(bind_addr="web.internal")
    assert found.http_bind == ("web.internal", 4646)
    assert found.http_adv == ("10.9.9.9", 4646)


def test_each_service_may_listen_elsewhere_and_tell_something_else():
    found = resolve(
        bind_addr="10.0.0.5",
        addresses__http="10.0.0.6",
        ports__http=80,
        advertise__rpc="example.org",
        advertise__serf="example.org:1234",
    )
    assert found.http_bind == found.http_adv == ("10.0.0.6", 80)
    assert found.rpc_adv == ("example.org", 4647)
    assert found.serf_adv == ("example.org", 1234)
    assert found.serf_bind == ("10.0.0.5", 4648)


def test_advertised_templates_are_filled_in():
    found = resolve(
        bind_addr="127.0.0.1",
        advertise__http='{{ GetInterfaceIP "eth0" }}:80',
        advertise__rpc="{{ GetPrivateIP }}",
        advertise__serf="10.0.0.5",
    )
    assert found.http_adv == ("10.0.0.5", 80)
    assert found.rpc_adv == ("10.0.0.5", 4647)


def test_loopback_is_told_in_dev_mode_only():
    assert resolve(dev=True, bind_addr="127.0.0.1").serf_adv == ("127.0.0.1", 4648)
    with pytest.raises(AddressError, match="unsafe"):
        resolve(bind_addr="127.0.0.1")


def test_no_bind_address_means_any():
    assert resolve(bind_addr="").http_bind == ("0.0.0.0", 4646)


_UNSAFE = "Defaulting advertise to localhost is unsafe, please set advertise manually"


@pytest.mark.parametrize(
    ("values", "message", "key"),
    [
        (
            {"bind_addr": "127.0.0.1"},
            f"Failed to parse HTTP advertise address (, 127.0.0.1, 4646, false): {_UNSAFE}",
            "bind_addr",
        ),
        (
            {"bind_addr": "127.0.0.1", "advertise__http": "a"},
            f"Failed to parse RPC advertise address: {_UNSAFE}",
            "advertise.rpc",
        ),
        (
            {"bind_addr": "::1", "advertise__http": "a", "advertise__rpc": "a"},
            f"Failed to parse Serf advertise address: {_UNSAFE}",
            "advertise.serf",
        ),
        (
            {"bind_addr": "127.0.0.1 127.0.0.2"},
            (
                'Bind address resolution failed: Multiple addresses found ("127.0.0.1 127.0.0.2"), '
                "please configure one."
            ),
            "bind_addr",
        ),
        (
            {"bind_addr": "{{ GetPrivateIPs }}"},
            (
                'Bind address resolution failed: Multiple addresses found ("10.0.0.5 10.0.0.6"), '
                "please configure one."
            ),
            "bind_addr",
        ),
        (
            {"bind_addr": "{{ nope }}"},
            (
                'Bind address resolution failed: Unable to parse address template "{{ nope }}": '
                'unable to parse template "{{ nope }}": template: sockaddr.Parse:1: '
                'function "nope" not defined'
            ),
            "bind_addr",
        ),
        (
            {"bind_addr": '{{ GetInterfaceIP "eth9" }}'},
            "Bind address resolution failed: No addresses found, please configure one.",
            "bind_addr",
        ),
        (
            {"addresses__serf": "a b"},
            'Failed to parse Serf address: Multiple addresses found ("a b"), please configure one.',
            "addresses.serf",
        ),
        (
            {"advertise__rpc": "a b"},
            (
                "Failed to parse RPC advertise address: Error parsing advertise address template: "
                'Multiple addresses found ("a b"), please configure one.'
            ),
            "advertise.rpc",
        ),
        (
            {"advertise__rpc": "a:b"},
            (
                "Failed to parse RPC advertise address: "
                'Error parsing advertise address "a:b": invalid port'
            ),
            "advertise.rpc",
        ),
        (
            {"bind_addr": "nowhere.internal"},
            (
                "Failed to parse HTTP advertise address (, nowhere.internal, 4646, false): Error "
                'resolving bind address "nowhere.internal": lookup nowhere.internal: no such host'
            ),
            "bind_addr",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_its_setting(values, message, key):
    with pytest.raises(AddressError) as caught:
        resolve(**values)
    assert str(caught.value) == message
    assert key in caught.value.keys


def test_without_a_private_address_one_must_be_given():
    with pytest.raises(AddressError, match="No private address"):
        resolve(machine=PUBLIC_ONLY)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", ("a", 7)),
        ("a:80", ("a", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", 7)),
        ("::1", ("::1", 7)),
        ("fd00::1:2", ("fd00::1:2", 7)),
    ],
)
def test_a_port_is_split_off_where_there_is_one(text, address):
    assert split_host_port(text, 7) == address


@pytest.mark.parametrize("text", ["a:", "a:x", "a:65536", "a:-1", "a:٣", "a:" + "9" * 5000])
def test_a_bad_port_is_refused(text):
    with pytest.raises(ValueError, match="invalid port"):
        split_host_port(text, 7)


def test_six_is_written_in_brackets():
    assert join_host_port(("::1", 80)) == "[::1]:80"
    assert join_host_port(("10.0.0.1", 80)) == "10.0.0.1:80"


def test_this_machine_has_a_loopback_address():
    machine = this_machine()
    assert "127.0.0.1" in {ip for ips in machine.interfaces.values() for ip in ips}
    assert machine.lookup("127.0.0.1") == ("127.0.0.1",)
