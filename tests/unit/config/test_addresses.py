"""Where to listen and what to tell others."""

from __future__ import annotations

import pytest

from bellcow.config.addresses import (
    AddressError,
    Machine,
    default_interface,
    resolve_addresses,
    split_host_port,
    this_machine,
)
from bellcow.config.keys import put_value
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
        "pub": ("8.8.4.4",),
        "eth0": ("10.0.0.5", "10.0.0.6"),
    },
    lookup,
)
PUBLIC_ONLY = Machine({"lo": ("127.0.0.1",), "pub": ("8.8.4.4",)}, lookup)


def resolve(dev=False, machine=MACHINE, **values):
    settings = Settings()
    for path, value in values.items():
        settings = put_value(settings, path.replace("__", "."), value)
    return resolve_addresses(settings, dev, machine)


def test_by_default_all_addresses_are_bound_and_the_first_private_one_advertised():
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
def test_a_bind_address_is_advertised(bind, host):
    found = resolve(bind_addr=bind)
    assert found.http_bind == found.http_adv == (host, 4646)


def test_a_host_name_to_bind_is_advertised_as_its_address():
    found = resolve(bind_addr="web.internal")
    assert found.http_bind == ("web.internal", 4646)
    assert found.http_adv == ("10.9.9.9", 4646)


def test_each_service_may_bind_and_advertise_its_own_address():
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


@pytest.mark.parametrize("bind", ["[fd00::1]", "fd00::1"])
def test_brackets_around_an_address_to_listen_on_are_no_part_of_it(bind):
    found = resolve(bind_addr=bind, addresses__http="[::1]", advertise__http="[fd00::1]:80")
    assert found.http_bind == ("::1", 4646)
    assert found.http_adv == ("fd00::1", 80)
    assert found.rpc_bind == found.rpc_adv == ("fd00::1", 4647)


def test_an_unresolvable_name_to_bind_is_refused_whatever_is_advertised():
    told = {f"advertise__{name}": "10.0.0.5" for name in ("http", "rpc", "serf")}
    with pytest.raises(AddressError, match=r"^Failed to parse HTTP address: .* no such host$"):
        resolve(bind_addr="nowhere.internal", **told)


def machine(default="", **interfaces):
    return Machine(interfaces, lookup, default)


HOME = {"ens160": ("192.168.50.39/24",), "vpn": ("10.10.10.5/24",), "ens224": ("172.16.9.5/24",)}


@pytest.mark.parametrize("bind", ["", "0.0.0.0", "{{ GetPrivateIP }}"])
def test_the_address_of_the_default_route_is_advertised_as_by_nomad(bind):
    found = resolve(machine=machine("ens224", **HOME), bind_addr=bind)
    assert found.serf_adv == ("172.16.9.5", 4648)


@pytest.mark.parametrize(
    ("interfaces", "told"),
    [
        ({"ts0": ("100.64.1.5/10",)}, "100.64.1.5"),
        ({"eth0": ("8.8.4.4/24",), "docker0": ("172.17.0.1/16",)}, "172.17.0.1"),
        # The larger network first where no default route decides.
        ({"a": ("192.168.1.5/24",), "b": ("10.0.0.5/8",)}, "10.0.0.5"),
        # Only IPv4 is listened on.
        ({"eth0": ("8.8.4.4/24", "fd00::2/64"), "eth1": ("10.0.0.5/8",)}, "10.0.0.5"),
        ({"eth0": ("192.0.2.2/24", "fd00::2/64")}, "192.0.2.2"),
    ],
)
def test_without_a_bind_address_a_private_one_is_advertised(interfaces, told):
    assert resolve(machine=machine("eth0", **interfaces)).rpc_adv == (told, 4647)


def test_with_all_addresses_bound_an_ipv6_one_may_be_advertised():
    found = resolve(machine=machine("eth0", eth0=("8.8.4.4/24", "fd00::2/64")), bind_addr="::")
    assert found.rpc_adv == ("fd00::2", 4647)


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
ens224\t00000000\t010910AC\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth9\t00000000\t0109A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
ens224\t000910AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_the_default_route_is_the_first_one_through_a_gateway():
    assert default_interface(ROUTES) == "ens224"
    lines = ROUTES.splitlines()
    assert default_interface("\n".join([lines[0], lines[4]])) == ""
    assert default_interface("") == ""


def test_advertised_templates_are_filled_in():
    found = resolve(
        bind_addr="127.0.0.1",
        advertise__http='{{ GetInterfaceIP "eth0" }}:80',
        advertise__rpc="{{ GetPrivateIP }}",
        advertise__serf="10.0.0.5",
    )
    assert found.http_adv == ("10.0.0.5", 80)
    assert found.rpc_adv == ("10.0.0.5", 4647)


def test_loopback_is_advertised_in_dev_mode_only():
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


def test_this_machine_has_a_loopback_address():
    machine = this_machine()
    assert "127.0.0.1/8" in {ip for ips in machine.interfaces.values() for ip in ips}
    assert "loopback" in machine.flags["lo"]
    assert machine.lookup("127.0.0.1") == ("127.0.0.1",)
