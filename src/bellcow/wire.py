"""The form of values on the wire: names, durations, times, and the base of every wire struct.

Durations are whole nanoseconds in memory and Go's text (`1m30s`) on the wire. Grammar and error
texts are those of Go's `time.ParseDuration`, which clients and configuration files rely on.
"""

from __future__ import annotations

import functools
import re
import time
from typing import Any, TypeVar

import msgspec

NS_PER_S = 1_000_000_000
_MAX_NS = (1 << 63) - 1
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek small mu
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3_600 * NS_PER_S,
}
_GROUP = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")

# Words that Nomad writes in capitals; of every other word it capitalizes the first letter.
_CAPITALS = {
    "acl": "ACL",
    "cpu": "CPU",
    "dc": "DC",
    "http": "HTTP",
    "id": "ID",
    "json": "JSON",
    "mb": "MB",
    "mhz": "MHz",
    "rpc": "RPC",
    "ttl": "TTL",
}


def wire_name(field: str) -> str:
    """`accessor_id` -> `AccessorID`: a field's name as Nomad spells it in JSON."""
    return "".join(_CAPITALS.get(word) or word.capitalize() for word in field.split("_"))


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename=wire_name):
    """Base of every value that clients or the store see: frozen, with Nomad's field names.

    Fields are declared in the byte order of their wire names, because they are written in the order
    of their declaration. Structs with another order, where Nomad has one, say so.
    """


@functools.total_ordering
class Duration:
    """A signed number of nanoseconds, read and written as Go does."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read Go's form.

        Raises:
            ValueError: the text is no duration; the message is Go's.
        """
        return cls(parse_duration(text))

    @classmethod
    def seconds(cls, seconds: float) -> Duration:
        return cls(int(seconds * NS_PER_S))

    @property
    def s(self) -> float:
        """The duration in seconds."""
        return self.ns / NS_PER_S

    def __str__(self) -> str:
        return format_duration(self.ns)

    def __repr__(self) -> str:
        return f"Duration({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.ns == self.ns

    def __lt__(self, other: Duration) -> bool:
        return self.ns < other.ns

    def __hash__(self) -> int:
        return hash(self.ns)


def _quote_bytes(text: str) -> str:
    """Go's other quoting, of `time` alone: whatever is not printable ASCII as bytes in hex."""
    out = []
    for char in text:
        if char in {'"', "\\"}:
            out.append("\\" + char)
        elif " " <= char <= "~":
            out.append(char)
        else:
            out.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    return '"' + "".join(out) + '"'


def parse_duration(text: str) -> int:
    """Nanoseconds of Go's duration text: sign, then groups of decimal number and unit, or a lone 0.

    Source of the grammar: Go's package `time`, ParseDuration.

    Raises:
        ValueError: the text is no duration; the message is Go's.
    """
    negative = text[:1] == "-"
    at = 1 if text[:1] in {"-", "+"} else 0
    if text[at:] == "0":
        return 0
    bad = ValueError(f"time: invalid duration {_quote_bytes(text)}")
    if at == len(text):
        raise bad
    total = 0
    while at < len(text):
        whole, fraction, unit, at = _group(text, at)
        if not whole and not fraction:
            raise bad
        if not unit:
            raise ValueError(f"time: missing unit in duration {_quote_bytes(text)}")
        if unit not in _UNITS_NS:
            raise ValueError(
                f"time: unknown unit {_quote_bytes(unit)} in duration {_quote_bytes(text)}"
            )
        # Lengths are checked before int(): digits come from clients.
        digits = whole.lstrip("0")
        if len(digits) > 19:
            raise bad
        total += int(digits or "0") * _UNITS_NS[unit]
        if fraction:
            fraction = fraction[:19]
            total += int(fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
        if total > _MAX_NS + negative:
            raise bad
    return -total if negative else total


def _group(text: str, at: int) -> tuple[str, str, str, int]:
    """Whole digits, digits of the fraction and unit of the group at `at`, and where it ends."""
    match = _GROUP.match(text, at)
    assert match is not None  # noqa: S101  every part may be empty
    whole, fraction, unit = match.groups()
    return whole, fraction or "", unit, match.end()


def format_duration(ns: int) -> str:
    """Go's `Duration.String`: `1h30m0s`, `27.291304ms`, `-1ns`, `0s`."""
    if ns == 0:
        return "0s"
    sign = "-" if ns < 0 else ""
    rest = abs(ns)
    if rest < NS_PER_S:
        for unit, scale in (("ms", 1_000_000), ("µs", 1_000)):
            if rest >= scale:
                return f"{sign}{_decimal(rest, scale)}{unit}"
        return f"{sign}{rest}ns"
    minutes, below = divmod(rest, 60 * NS_PER_S)
    out = f"{_decimal(below, NS_PER_S)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        out = f"{minutes}m{out}"
        if hours:
            out = f"{hours}h{out}"
    return sign + out


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    return f"{whole}." + str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0")


def rfc3339(wall_ns: int) -> str:
    """A wall time as Go writes it: UTC, nanoseconds without trailing zeros."""
    seconds, ns = divmod(wall_ns, NS_PER_S)
    base = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{base}{fraction}Z"


def rfc3339_seconds(wall_ns: int) -> str:
    """A wall time rounded to whole seconds, UTC."""
    return rfc3339((wall_ns + NS_PER_S // 2) // NS_PER_S * NS_PER_S)


NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
UUID_CHARS = 36


def enc_hook(value: object) -> object:
    """Encode the types that msgspec does not know."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def dec_hook(kind: type, value: Any) -> object:
    """Decode the types that msgspec does not know.

    Raises:
        ValueError: the value does not fit its type.
    """
    if kind is Duration:
        return _duration(value)
    raise NotImplementedError(f"cannot decode {kind.__name__}")


def _duration(value: Any) -> Duration:
    """Go's text, or whole nanoseconds that fit 64 bits.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(value, str):
        return Duration.parse(value)
    if type(value) is not int or not -_MAX_NS <= value <= _MAX_NS:
        raise ValueError("a duration is a text like 1m30s, or whole nanoseconds")
    return Duration(value)


T = TypeVar("T")

# What msgspec raises for data from outside: malformed, of the wrong type, not UTF-8, too deep.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AT_PATH = re.compile(r"`(\$[^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_AT_BYTE = re.compile(r"\(byte (\d+)\)$")


def undecodable(error: Exception) -> str:
    """What is wrong with data that msgspec refused with one of UNDECODABLE, as part of a sentence.

    The library's own texts change between releases, so only the position in the data, if any, is
    taken from them.
    """
    text = str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        path, field = _AT_PATH.search(text), _MISSING.search(text)
        what = f"field {field[1]} is missing" if field else "wrong kind of value"
        return f"{what} at {path[1]}" if path else what
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in text:
        return "not UTF-8"
    if "truncated" in text:
        return "it ends too early"
    byte = _AT_BYTE.search(text)
    return f"malformed at byte {byte[1]}" if byte else "malformed"


_json = msgspec.json.Encoder(enc_hook=enc_hook)
_msgpack = msgspec.msgpack.Encoder(enc_hook=enc_hook)


def to_json(value: object) -> bytes:
    return _json.encode(value)


def to_msgpack(value: object) -> bytes:
    return _msgpack.encode(value)


def msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """A decoder for stored rows. Reuse it: making one is slow."""
    return msgspec.msgpack.Decoder(kind, dec_hook=dec_hook)


def _placeholder(number: int) -> bytes:
    return b'"\\u0000%d"' % number


def pretty(body: bytes, one_line: tuple[bytes, ...] = ()) -> bytes:
    """The same JSON indented by four spaces, with a newline at the end.

    Nomad: values with an encoder of their own stay on one line; `one_line` lists them as written.
    """
    for number, fragment in enumerate(one_line):
        body = body.replace(fragment, _placeholder(number), 1)
    body = msgspec.json.format(body, indent=4) if body[:1] in b"{[" else body
    for number, fragment in enumerate(one_line):
        body = body.replace(_placeholder(number), fragment, 1)
    return body + b"\n"


def join_host_port(address: tuple[str, int]) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
