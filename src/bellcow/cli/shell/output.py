"""The output of commands: lines, tables, key/value blocks, JSON and templates.

Results go to standard output, everything else to standard error; color is for terminals only.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from bellcow.cli.shell.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NONE = "<none>"
_decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a chunk may end within a character
_RED, _PLAIN = "\033[31m", "\033[0m"
# Control characters other than tab and newline could control the reader's terminal.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
# Marks that turn the direction of what follows, and separators that some terminals break lines at.
_MARKS = (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ON_A_TERMINAL = {**_CONTROL, **{code: f"\\u{code:04x}" for code in _MARKS}}
# A line break within a cell would look like another row.
_IN_A_LINE = {**_CONTROL, ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def say(text: str = "") -> None:
    """One result on standard output."""
    write(f"{text}\n")


def write(text: str) -> None:
    """Text on standard output; on a terminal, control characters are escaped."""
    sys.stdout.write(_harmless(text) if sys.stdout.isatty() else text)


def write_bytes(data: bytes) -> None:
    """Bytes on standard output unchanged; on a terminal they are decoded and escaped like text."""
    if sys.stdout.isatty():
        write(_decoder.decode(data))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def complain(text: str) -> None:
    """One error on standard error, red on a terminal."""
    text = _harmless(text)
    if wants_color(os.environ, sys.argv[1:], terminal=sys.stderr.isatty()):
        text = f"{_RED}{text}{_PLAIN}"
    sys.stderr.write(f"{text}\n")


def note(text: str) -> None:
    """One remark on standard error, without color."""
    sys.stderr.write(f"{_harmless(text)}\n")


@contextlib.contextmanager
def saying_after(seconds: float, text: str) -> Iterator[None]:
    """On a terminal, print `text` if the body takes longer than `seconds`."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Timer

    timer = Timer(seconds, note, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _harmless(text: str) -> str:
    return text.translate(_ON_A_TERMINAL)


def wants_color(environment: Mapping[str, str], words: Sequence[str], *, terminal: bool) -> bool:
    """Whether error lines are red: as asked for, else on a terminal."""
    flags = {word.lstrip("-") for word in words if word.startswith("-")}

    def asked(flag: str, variable: str) -> bool:
        named = (f"BELLCOW_{variable}", f"NOMAD_{variable}")
        return flag in flags or any(environment.get(name) for name in named)

    if asked("no-color", "CLI_NO_COLOR"):
        return False
    return asked("force-color", "CLI_FORCE_COLOR") or terminal


def table(rows: Sequence[Sequence[object]], *, glue: str = "  ", empty: str = "") -> str:
    """Rows of cells in columns, without a newline at the end.

    Every cell is padded to its column's width, except the last of a row. Line breaks and control
    characters within a cell are escaped.
    """
    cells = [[_cell(cell) or empty for cell in row] for row in rows]
    widths = [
        max((len(row[column]) for row in cells if column < len(row)), default=0)
        for column in range(max(map(len, cells), default=0))
    ]
    return "\n".join(
        glue.join(
            [*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]
        )
        if row
        else ""
        for row in cells
    )


class Lines(str):
    """A cell that may have several lines, as the rules of a policy do."""

    __slots__ = ()


def one_line(value: object) -> str:
    """A value from a server for one line: line breaks and control characters are escaped."""
    return str(value).translate(_IN_A_LINE)


def _cell(value: object) -> str:
    text = str(value).strip()
    return text.translate(_CONTROL) if isinstance(value, Lines) else one_line(text)


def listing(rows: Sequence[Sequence[object]]) -> str:
    """A table in which an empty cell shows `<none>`."""
    return table(rows, empty=NONE)


def described(found: Sequence[Mapping[str, Any]], nothing: str = "") -> str:
    """A listing of names and descriptions, or `nothing`."""
    rows = [[one["Name"], one["Description"]] for one in found]
    return listing([["Name", "Description"], *rows]) if rows else nothing


def pairs(rows: Sequence[tuple[str, object]]) -> str:
    """A block of `name = value` lines, aligned."""
    return table(rows, glue=" = ", empty=NONE)


def go_bool(value: object) -> str:
    return "true" if value else "false"


def go_list(values: Sequence[object] | None) -> str:
    """A list as Go prints it: `[a b]`."""
    return "[" + " ".join(map(str, values or ())) + "]"


def go_time(text: str) -> str:
    """An RFC 3339 time in UTC as Go prints it by itself: `2026-11-23 13:59:47.25 +0000 UTC`."""
    import re

    found = re.fullmatch(r"(\d+-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z", text)
    if not found:
        return text
    fraction = (found[3] or "").rstrip("0").rstrip(".")
    return f"{found[1]} {found[2]}{fraction} +0000 UTC"


def to_json(value: Any) -> str:
    """JSON indented by four spaces, keys in byte order, whole numbers without a fraction."""
    import msgspec

    encoded = msgspec.json.encode(_whole(value), order="sorted")
    return msgspec.json.format(encoded, indent=4).decode()


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return value


def formatted(value: Any, *, as_json: bool, template: str, go_type: str = "") -> str | None:
    """`value` as JSON or through the template; None if neither was asked for.

    Raises:
        CommandError: both were asked for, or the template fails.
    """
    if as_json and template:
        raise CommandError("Both json and template formatting are not allowed")
    if as_json:
        return to_json(value)
    if template:
        from bellcow.gocompat.template import render
        from bellcow.gocompat.template_values import TemplateError

        try:
            return render(template, value, go_type)
        except TemplateError as error:
            raise CommandError(f"Error formatting the data: {error}") from error
    return None


def show(
    value: Any, text: Callable[[], str], *, as_json: bool, template: str, go_type: str = ""
) -> None:
    """Print `value` as JSON or through the template; if neither was asked for, the text of it."""
    shown = formatted(value, as_json=as_json, template=template, go_type=go_type)
    say(text() if shown is None else shown)


def size(count: int) -> str:
    """Bytes as people read them: `512 B`, `78.9 KiB`."""
    if count < 1024:
        return f"{count} B"
    amount, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}"


def age(ns: int) -> str:
    """How long ago, in its two largest units: `1h2m ago`, `3s ago`, `5m from now`."""
    tense = "ago" if ns >= 0 else "from now"
    rest = abs(ns) // 1_000_000_000  # NS_PER_S, but wire imports msgspec, and help must not
    parts: list[str] = []
    for unit, seconds in (
        ("y", 31536000),
        ("mo", 2592000),
        ("d", 86400),
        ("h", 3600),
        ("m", 60),
        ("s", 1),
    ):
        count, rest = divmod(rest, seconds)
        if count and len(parts) < 2:
            parts.append(f"{count}{unit}")
    return f"{''.join(parts) or '0s'} {tense}"
