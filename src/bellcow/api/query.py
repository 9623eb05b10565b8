"""Query parameters as data: a route declares them, the pipeline reads each once for the handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.api.message import Request

UINT64_DIGITS = 20
UINT64_MAX = (1 << 64) - 1


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter. `read` turns its text into a value, or raises Error(INVALID)."""

    name: str
    read: Callable[[str], Any]


def read_query(declared: Iterable[Parameter], request: Request) -> dict[str, Any]:
    """The values of the declared parameters that the client sent, empty ones too.

    Raises:
        invalid: one cannot be read, the first of them.
    """
    return {
        each.name: each.read(request.param(each.name))
        for each in declared
        if request.has(each.name)
    }


def parse_uint(text: str, prefix: str) -> int:
    """An unsigned decimal number of 64 bits.

    Raises:
        invalid: the text is none; the message is Go's.
    """
    digits = text.lstrip("0")
    if not text.isascii() or not text.isdigit():
        why = "invalid syntax"
    elif len(digits) > UINT64_DIGITS or int(digits or "0") > UINT64_MAX:
        why = "value out of range"
    else:
        return int(digits or "0")
    raise invalid(f'{prefix}strconv.ParseUint: parsing "{text[:64]}": {why}')


def _cas(text: str) -> int:
    return parse_uint(text, "Error parsing cas value: ")


CAS = Parameter("cas", _cas)  # the index of a compare-and-set
