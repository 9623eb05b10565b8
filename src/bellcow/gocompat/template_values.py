"""Values in a Go template: printing, truth, the elements of `range`, and the functions."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from bellcow.gocompat.quote import go_quote

if TYPE_CHECKING:
    from collections.abc import Callable

_VERB = re.compile(r"%([-+0# ]*\d*(?:\.\d+)?)([vsdqtfx%])")
_NO_VALUE = "<no value>"


class TemplateError(Exception):
    """The template is malformed, or does not fit the data; the text is Go's."""


def truth(value: Any) -> bool:
    return bool(value)


def range_entries(value: Any) -> list[tuple[Any, Any]]:
    """What `range` visits: indexes and elements of a list, keys and values of an object.

    Raises:
        TemplateError: the value has no entries.
    """
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, 1_000_000))]
    if value is None:
        return []
    raise TemplateError(f"template: format: range can't iterate over {show(value)}")


def show(value: Any) -> str:
    """A value as Go prints it with `%v`."""
    if value is None:
        return _NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(one)}" for key, one in sorted(value.items())) + "]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError(f"index out of range: {show(key)}")
    return value


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, verb = found[1], found[2]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        if any(len(digits) > 4 for digits in re.findall(r"\d+", flags)):
            raise ValueError("width or precision too large")
        if verb in "dxf":
            return str(f"%{flags}{verb}" % value)
        return f"%{flags}s" % (go_quote(show(value)) if verb == "q" else show(value))

    return _VERB.sub(one, form)


def _json(value: Any) -> str:
    import msgspec

    text: str = msgspec.json.encode(value, order="sorted").decode()
    return text


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "index": _index,
    "len": len,
    "printf": _printf,
    "print": lambda *values: "".join(map(show, values)),
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "eq": _equal,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "json": _json,
}
