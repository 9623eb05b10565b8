"""Times as Go reads and writes them."""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import UTC, datetime

from bellcow.gocompat.duration import NS_PER_S

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time with any offset.

    Raises:
        ValueError: the text is no such time.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time")
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    fraction, sign, hours, minutes = found.group(7, 8, 9, 10)
    seconds = timegm(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timetuple())
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("not an RFC 3339 offset")
        east = int(hours) * 3600 + int(minutes) * 60
        seconds += east if sign == "-" else -east
    return seconds * NS_PER_S + int((fraction or "0")[:9].ljust(9, "0"))


def rfc3339(wall_ns: int) -> str:
    """A wall time as Go writes it: UTC, nanoseconds without trailing zeros."""
    seconds, ns = divmod(wall_ns, NS_PER_S)
    base = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{base}{fraction}Z"


def rfc3339_seconds(wall_ns: int) -> str:
    """A wall time rounded to whole seconds, UTC."""
    return rfc3339((wall_ns + NS_PER_S // 2) // NS_PER_S * NS_PER_S)
