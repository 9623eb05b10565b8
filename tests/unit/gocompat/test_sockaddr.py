"""What address templates stand for, on a machine that is written down."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.gocompat.sockaddr import evaluate
from bellcow.gocompat.sockaddr_interfaces import Interface, TemplateError
from bellcow.gocompat.sockaddr_networks import Network

UP = {"up", "broadcast", "running", "multicast"}
TABLE = (
    ("lo", "127.0.0.1/8", {"up", "loopback", "running"}),
    ("lo", "::1/128", {"up", "loopback", "running"}),
    ("eth0", "192.168.50.39/24", UP),
    ("eth0", "fe80::1/64", UP),
    ("eth1", "10.10.10.5/16", UP),
    ("eth2", "172.16.9.5/24", UP),
    ("eth2", "fd00::5/64", UP),
    ("eth3", "8.8.4.4/24", UP),
    ("old", "10.99.0.1/24", {"broadcast"}),
)
NETWORK = Network(
    tuple(
        Interface(name, ipaddress.ip_interface(ip), frozenset(flags)) for name, ip, flags in TABLE
    ),
    "eth2",
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("{{ GetPrivateIP }}", "172.16.9.5"),
        ("{{GetPrivateIP}}:4648", "172.16.9.5:4648"),
        ("{{ GetPrivateIPs }}", "10.10.10.5 192.168.50.39 172.16.9.5 10.99.0.1 fd00::5"),
        ("{{ GetPublicIP }}", "8.8.4.4"),
        ("{{ GetPublicIPs }}", "8.8.4.4"),
        ('{{ GetInterfaceIP "eth1" }}', "10.10.10.5"),
        ("{{ GetInterfaceIP `eth1` }}", "10.10.10.5"),
        ('{{ GetInterfaceIP "^eth[12]$" }}', "10.10.10.5"),
        ('{{ GetInterfaceIPs "eth2" }}', "172.16.9.5 fd00::5"),
        ('{{ GetInterfaceIP "none" }}', ""),
        (
            '{{ GetPrivateInterfaces | include "network" "10.10.0.0/16" | attr "address" }}',
            "10.10.10.5",
        ),
        ('{{ GetAllInterfaces | include "name" "^eth0$" | attr "address" }}', "192.168.50.39"),
        (
            (
                '{{ GetAllInterfaces | exclude "name" "lo|old" | exclude "type" "ipv6" '
                '| sort "-address" | limit 2 | join "address" "," }}'
            ),
            "192.168.50.39,172.16.9.5",
        ),
        ('{{ GetDefaultInterfaces | include "type" "IPv4" | attr "address" }}', "172.16.9.5"),
        ('{{ GetPublicInterfaces | attr "name" }}', "eth3"),
        ('{{ GetAllInterfaces | include "rfc" "1918" | sort "size,name" | attr "name" }}', "eth1"),
        ('{{ GetAllInterfaces | include "flags" "loopback" | join "name" " " }}', "lo lo"),
        ('{{ GetAllInterfaces | exclude "flag" "up" | attr "string" }}', "10.99.0.1/24"),
        ('{{ GetAllInterfaces | include "size" "16" | attr "network" }}', "10.10.0.0/16"),
        ('{{ GetAllInterfaces | sort "default,type" | attr "ADDRESS" }}', "172.16.9.5"),
        ('{{ GetAllInterfaces | sort "private,-name" | attr "name" }}', "old"),
        ('{{ GetAllInterfaces | unique "name" | offset -2 | join "name" " " }}', "eth3 old"),
        ('{{ GetAllInterfaces | include "address" "^8\\\\." | attr "host" }}', "8.8.4.4"),
        ('{{ . | include "name" "eth3" | attr "type" }}', "IPv4"),
        ('{{ attr "address" (GetPrivateInterfaces | limit 1) }}', "172.16.9.5"),
        ('{{ with GetPrivateInterfaces }}{{ . | attr "name" }}{{ end }}', "eth2"),
        ('{{ with GetInterfaceIP "none" }}x{{ else }}y{{ end }}', "y"),
        ('{{ printf "%s:%d" GetPrivateIP 80 }}', "172.16.9.5:80"),
        ('{{ GetPrivateIP | printf "[%v]" }}', "[172.16.9.5]"),
        ("  {{- GetPrivateIP -}}  ", "172.16.9.5"),
    ],
)
def test_a_template_evaluates_as_in_nomad(template, text):
    assert evaluate(template, NETWORK) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ nope }}", 'function "nope" not defined'),
        ("{{ }}", "missing value for command"),
        ("{{ GetPrivateIP", "unclosed action"),
        ("{{ " + "(" * 9000 + " }}", "nested too deeply"),
        ("{{ GetAllInterfaces }}", 'end with attr "address"'),
        ('{{ GetAllInterfaces | sort "luck" }}', 'unknown sort type: "luck"'),
        ('{{ GetAllInterfaces | include "luck" "x" }}', "invalid include selector"),
        ('{{ GetAllInterfaces | include "rfc" "1" }}', 'unsupported RFC "1"'),
        ('{{ GetAllInterfaces | include "network" "x" }}', "unable to create an IP address"),
        ('{{ GetAllInterfaces | include "name" "(" }}', "error parsing regexp"),
        ('{{ GetAllInterfaces | include "flags" "x" }}', 'unknown interface flag: "x"'),
        ('{{ GetAllInterfaces | include "type" "x" }}', 'unsupported type "x"'),
        ('{{ GetAllInterfaces | attr "x" }}', 'unsupported attribute name "x"'),
        ("{{ GetAllInterfaces | offset 99 }}", "past the end"),
        ("{{ GetInterfaceIP }}", "GetInterfaceIP wants a text"),
        ('{{ "a" | "b" }}', "is no function"),
        ("{{ (GetPrivateIP }}", "unclosed left paren"),
        ("{{ GetPrivateIP ) }}", "unexpected"),
        ("{{ with GetPrivateIP }}x", "with needs an {{end}}"),
        ("{{ end }}", "unexpected {{end}}"),
        ('{{ GetPrivateIP | printf "%s:%d" }}', "printf has too few values"),
        ("{{ printf }}", "printf wants a text"),
        ("{{ printf 80 }}", "printf wants a text"),
        ("{{ $x }}", 'unexpected "$x"'),
    ],
)
def test_a_template_without_a_value_is_refused_in_words(template, words):
    with pytest.raises(TemplateError) as caught:
        evaluate(template, NETWORK)
    assert words in str(caught.value)


def test_without_a_default_route_there_are_no_default_interfaces():
    with pytest.raises(TemplateError, match="no default interface found"):
        evaluate("{{ GetDefaultInterfaces }}", Network(NETWORK.interfaces))


WORDS = """{{ }} | ( ) "a" `b` 1 . with end else attr sort GetAllInterfaces GetPrivateIP include
limit printf - $ \""""


@given(st.lists(st.sampled_from(WORDS.split())).map(" ".join))
def test_any_template_is_a_text_or_a_refusal(template):
    found = ""
    with contextlib.suppress(TemplateError):
        found = evaluate(template, NETWORK)
    assert isinstance(found, str)
