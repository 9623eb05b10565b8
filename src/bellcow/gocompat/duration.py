"""Go's durations: whole nanoseconds in memory, text such as `1m30s` for people and files.

Grammar and error texts are those of Go's `time.ParseDuration`, which clients and configuration
files rely on.
"""

from __future__ import annotations

import functools
import re

NS_PER_S = 1_000_000_000
MAX_NS = (1 << 63) - 1
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
        if total > MAX_NS + negative:
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
