"""What ours answers in place of what was recorded, where the two differ on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.contract.http_replay import Expected

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Instead(msgspec.Struct, frozen=True, kw_only=True):
    """What ours answers, and why. What is not said is as recorded.

    `patch` is laid over the recorded JSON, `like` names an exchange of the same recording whose
    answer this one has, indexes are those of the recording.
    """

    why: str
    status: int | None = None
    text: str | None = None
    begins: str | None = None
    value: Any = None
    patch: Any = None
    like: int | None = None
    index: int | None = None
    headers: dict[str, str | None] = {}


def refused(why: str, text: str, status: int = 403) -> Instead:
    return Instead(why=why, status=status, text=text, index=-1, headers={"Content-Type": TEXT})


def changed(was: Expected, instead: Instead) -> Expected:
    """What is expected in place of `was`, which is changed."""
    if instead.patch is not None:
        was.value = merged(was.value, instead.patch)
    if instead.value is not None:
        was.value, was.text, was.layout = instead.value, None, None
    if (text := instead.text if instead.begins is None else instead.begins) is not None:
        was.text, was.value, was.begins = text, None, instead.begins is not None
    was.status = instead.status or was.status
    if instead.index is not None:
        was.index = instead.index if instead.index >= 0 else None
    for header, value in instead.headers.items():
        was.headers.pop(header.lower(), None)
        if value is not None:
            was.headers[header.lower()] = value
    return was


def merged(value: Any, patch: Any) -> Any:
    """The value with a patch laid over it, deep into objects and lists."""
    if isinstance(value, dict) and isinstance(patch, dict):
        over = {name: merged(value.get(name), part) for name, part in patch.items()}
        return {**value, **over}
    if isinstance(value, list) and isinstance(patch, list):
        return [merged(v, p) for v, p in zip(value, patch, strict=True)]
    return patch
