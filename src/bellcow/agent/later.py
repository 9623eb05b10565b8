"""A reference to a part that is built after the parts that call it."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Later(Generic[T]):
    """Holds a part from `set` on. Each use in `build.py` is one cycle between parts."""

    __slots__ = ("_part",)

    def __init__(self) -> None:
        self._part: T | None = None

    def set(self, part: T) -> None:
        """Set the part.

        Raises:
            RuntimeError: it is set already.
        """
        if self._part is not None:
            raise RuntimeError("the part is built already")
        self._part = part

    def __call__(self) -> T:
        """The part.

        Raises:
            RuntimeError: it is not set yet.
        """
        if self._part is None:
            raise RuntimeError("the part is not built yet")
        return self._part
