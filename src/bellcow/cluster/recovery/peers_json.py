"""Parses peers.json, the operator's list of servers for a recovery, in both of Nomad's forms.

Pure: bytes in, servers out, or a refusal that names the entry. A server is identified by its
address, because one of the two forms has nothing else.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.config.addresses import split_host_port
from bellcow.errors import Error, invalid
from bellcow.gocompat.quote import go_quote
from bellcow.wire import UNDECODABLE, join_host_port, to_msgpack, undecodable

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "peers.json"
ENTRIES_MAX = 500
_KEYS = ("id", "address", "non_voter")
_SHOWN = 80  # characters of a wrong value


class Listed(msgspec.Struct, frozen=True):
    """One entry. `id` is "" in the form that has only addresses."""

    address: str
    id: str = ""
    non_voter: bool = False


def parse(data: bytes, name: str = NAME) -> tuple[Listed, ...]:
    """The servers in the order of the file.

    Raises:
        invalid: the file is wrong; the text says what is, and where.
    """  # noqa: DOC501  made by `_refusal`
    try:
        entries = msgspec.json.decode(data)
    except UNDECODABLE as error:
        raise _refusal(name, f"not JSON: {undecodable(error)}") from None
    if not isinstance(entries, list):
        raise _refusal(name, "it must be a list of addresses, or of objects with id and address")
    if len(entries) > ENTRIES_MAX:
        raise _refusal(name, f"{len(entries)} entries, at most {ENTRIES_MAX}")
    servers = []
    for number, entry in enumerate(entries, 1):
        try:
            servers.append(_listed(entry))
        except ValueError as error:
            raise _refusal(name, f"entry {number}: {error}") from None
    _check(name, servers)
    return tuple(servers)


def _listed(entry: Any) -> Listed:
    """One entry of the file.

    Raises:
        ValueError: the entry is wrong; the text says what is.
    """
    if isinstance(entry, str):
        return Listed(normal(entry))
    if not isinstance(entry, dict):
        raise ValueError("it must be an address, or an object with id and address")  # noqa: TRY004  it is a value of the file
    # Nomad: Go ignores the case of a key.
    fields = {key.lower(): value for key, value in entry.items()}
    if unknown := sorted(fields.keys() - set(_KEYS)):
        known = ", ".join(_KEYS)
        raise ValueError(f"unknown key {go_quote(unknown[0], _SHOWN)}; the keys are {known}")
    server_id, address = fields.get("id", ""), fields.get("address", "")
    non_voter = fields.get("non_voter", False)
    if not isinstance(server_id, str) or not isinstance(address, str):
        raise ValueError("id and address must be texts")  # noqa: TRY004  it is a value of the file
    if not isinstance(non_voter, bool):
        raise ValueError("non_voter must be true or false")  # noqa: TRY004  it is a value of the file
    if not server_id.strip():
        raise ValueError("empty id")
    return Listed(normal(address), server_id.strip().lower(), non_voter)


def normal(address: str) -> str:
    """The one spelling of a `host:port`.

    Raises:
        ValueError: the text is no address; the message has the reason.
    """
    text = address.strip()
    if not text:
        raise ValueError("empty address")
    try:
        host, port = split_host_port(text, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port or any(char.isspace() or char in ",/" for char in host):
        raise ValueError(f"{go_quote(text, _SHOWN)} is not an address: it must be host:port")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return join_host_port((host.lower(), port))
    if ip.is_unspecified:
        raise ValueError(f"{go_quote(text, _SHOWN)} is not the address of one server")
    return join_host_port((str(ip), port))


def _check(name: str, servers: Sequence[Listed]) -> None:
    if not servers:
        raise _refusal(name, "no servers in configuration")
    if all(server.non_voter for server in servers):
        raise _refusal(name, "need at least one voter in configuration")
    seen: dict[str, int] = {}
    for number, server in enumerate(servers, 1):
        for kind, value in (("address", server.address), ("ID", server.id)):
            if value and (first := seen.setdefault(f"{kind} {value}", number)) != number:
                raise _refusal(
                    name,
                    f"entry {number}: found duplicate {kind} in configuration: {value}, "
                    f"which entry {first} has",
                )


def _refusal(name: str, what: str) -> Error:
    return invalid(f"recovery failed to parse peers.json: {name}: {what}")


def digest(servers: Sequence[Listed]) -> str:
    """Equal for files with the same addresses and votes, in either form and any order."""
    meaning = sorted((server.address, server.non_voter) for server in servers)
    return hashlib.sha256(to_msgpack(meaning)).hexdigest()


def written(servers: Sequence[Listed]) -> bytes:
    """The file's bytes: the form with ids if all servers have one, else the form of addresses."""
    rows: list[Any] = [server.address for server in servers]
    if all(server.id for server in servers):
        rows = [msgspec.structs.asdict(server) for server in servers]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n"
