"""Addresses of servers to join: their syntax, and the host and port they name. Pure."""

from __future__ import annotations

import ipaddress
import re

SERF_PORT = 4648
LABEL_CHARS = 63  # RFC 1035, 2.3.4
NAME_CHARS = 253
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")


def split_join_address(text: str) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address."""
    host, colon, port = text.rpartition(":")
    if not colon or not _is_number(port) or (":" in host and not host.endswith("]")):
        return text.strip("[]"), SERF_PORT
    return host.strip("[]"), min(int(port[:6]), 65_535)


def join_fault(text: str) -> str:
    """Why this text cannot name a server, without repeating it; "" if it is well-formed.

    Cloud auto-join may carry secrets.
    """
    if not text.strip():
        return "it is empty"
    if "provider=" in text:
        return "asking a cloud for servers (provider=...) is not supported; name hosts or addresses"
    if text.startswith("exec="):
        return "asking a program for servers (exec=...) is not supported; name hosts or addresses"
    if "://" in text:
        return "it is a URL; write host or host:port"
    if "," in text or len(text.split()) > 1:
        return "it holds several addresses; write each as an element of its own"
    if text.strip() != text:
        return "it has spaces around the address"
    host, _ = split_join_address(text)
    return _port_fault(text) or host_fault(host)


def host_fault(host: str) -> str:
    """Why this is neither an address nor a host name; "" if it is one."""
    if is_ip(host):
        return ""
    if not _NAME.fullmatch(host):
        return "it is neither an address nor a host name; is a placeholder left in it?"
    longest = max(len(label) for label in host.split("."))
    if longest > LABEL_CHARS:
        return f"a part of the host name has {longest} characters; {LABEL_CHARS} are allowed"
    if len(host) > NAME_CHARS:
        return f"the host name has {len(host)} characters; {NAME_CHARS} are allowed"
    return ""


def _port_fault(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return ""
    if not _is_number(port) or not 1 <= int(port[:6]) <= 65_535:
        return "the port is not a number from 1 to 65535"
    return ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def is_ip(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
