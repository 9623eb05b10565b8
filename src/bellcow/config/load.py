"""Files, directories and flags merged into one tree of settings, with the problems in them.

The later value wins, even if it is `false`, `0` or an empty text. Values are checked by
`validate.py`.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.config.convert import Fault, convert
from bellcow.config.decode import Decoded, Written, decode, shown
from bellcow.config.flags import FLAGS, Flag
from bellcow.config.keys import Key, all_keys, put_value
from bellcow.config.model import Settings
from bellcow.config.problem import Phase, Problem
from bellcow.gocompat import hcl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Nomad: these lists are joined from file to file, the others are replaced.
_GROWING = {
    "server.enabled_schedulers",
    "server.start_join",
    "server.retry_join",
    "client.servers",
}
_DEV: dict[str, Any] = {
    "bind_addr": "127.0.0.1",
    "log_level": "DEBUG",
    "enable_debug": True,
    "server.enabled": True,
    "server.bootstrap_expect": 1,
    "telemetry.prometheus_metrics": True,
    "telemetry.publish_node_metrics": True,
    "telemetry.publish_allocation_metrics": True,
}
_SCHEDULER = "server.default_scheduler_config."
_OLD_JOIN = ("start_join", "retry_join", "retry_max", "retry_interval")


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The merged settings of files and flags.

    `origins` maps each written setting to `file:line` or its flag; `unknown` does so for undeclared
    keys in blocks without effect. `notes` and `changes` are log lines, at info and debug level.
    """

    settings: Settings
    dev: bool = False
    files: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()  # paths without any configuration file
    problems: tuple[Problem, ...] = ()
    origins: dict[str, str] = {}
    unknown: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def load(
    paths: Sequence[str],
    flags: Mapping[str, Any] | None = None,
    *,
    dev: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read everything, later places over earlier ones: environment, files in order, flags.

    `flags` maps the names of given flags, without a dash, to a string, a list of strings, a boolean
    or a number. Nothing is raised: see `problems`.
    """
    merged: dict[str, Written] = _environment(environment or {})
    problems: list[Problem] = []
    changes: list[str] = []
    files: list[str] = []
    empty: list[str] = []
    unknown: dict[str, str] = {}
    for path in paths:
        found = list(_read(path, problems))
        for _, decoded in found:
            _merge(merged, decoded.values, changes)
            problems.extend(decoded.problems)
            unknown.update(decoded.unknown)
        if any(decoded.values or decoded.unknown for _, decoded in found):
            files.extend(file for file, _ in found)
        elif not _names(problems, path):
            empty.append(path)
    from_flags = _flags(flags or {})
    _merge(merged, from_flags.values, changes)
    problems.extend(from_flags.problems)
    return Loaded(
        settings=_build(merged, dev),
        dev=dev,
        files=tuple(files),
        empty=tuple(empty),
        problems=tuple(problems),
        origins={path: written.place for path, written in merged.items()},
        unknown=unknown,
        notes=_notes(merged, dev),
        changes=tuple(changes),
    )


def _names(problems: Iterable[Problem], path: str) -> bool:
    start = f"Error loading configuration from {path}: "
    return any(problem.message.startswith(start) for problem in problems)


def _environment(environment: Mapping[str, str]) -> dict[str, Written]:
    out = {}
    for name, path in (("LICENSE", "server.license_env"), ("LICENSE_PATH", "server.license_path")):
        for prefix in ("BELLCOW_", "NOMAD_"):
            value = environment.get(prefix + name)
            if value and path not in out:
                out[path] = Written(value, f"the environment variable {prefix}{name}")
    return out


def _read(path: str, problems: list[Problem]) -> Iterable[tuple[str, Decoded]]:
    """The files of a path, decoded; unreadable ones become `problems`."""
    before = f"Error loading configuration from {path}: "
    verb = "stat"
    try:
        directory = _is_directory(path)
        verb = "open"
        names = _files_in(path) if directory else [os.path.normpath(path)]
    except OSError as error:
        problems.append(_unreadable(before, verb, path, error))
        return
    for name in names:
        inside = f"{before}Error loading {name}: "
        try:
            if directory:
                _check_is_file(name)
            text = _text_of(name)
            yield name, decode(hcl.parse(text), name, inside)
        except OSError as error:
            problems.append(_unreadable(inside, "open", name, error))
        except UnicodeDecodeError as error:
            message = f"{inside}illegal UTF-8 encoding at byte {error.start}"
            problems.append(Problem(phase=Phase.LOAD, message=message))
        except hcl.HCLError as error:
            place = f"{name}:{error.line}:{error.column}: {error.problem}"
            problems.append(
                Problem(phase=Phase.LOAD, message=f"{inside}{error}", keys=("",), places=(place,))
            )


def _unreadable(before: str, verb: str, path: str, error: OSError) -> Problem:
    reason = (error.strerror or str(error)).lower()
    return Problem(phase=Phase.LOAD, message=f"{before}{verb} {path}: {reason}", keys=("",))


def _is_directory(path: str) -> bool:
    if not path:  # an empty path would mean the working directory
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return stat.S_ISDIR(Path(path).stat().st_mode)


def _files_in(path: str) -> list[str]:
    """The files `*.hcl` and `*.json` of a directory, in byte order of the path.

    A link counts whatever it leads to: a broken one must be reported, not skipped.
    """
    with os.scandir(path) as entries:
        found = [
            os.path.normpath(entry.path)
            for entry in entries
            if entry.name.endswith((".hcl", ".json"))
            and not entry.name.startswith(".#")  # backup and lock files of editors
            and not entry.is_dir(follow_symlinks=False)
        ]
    return sorted(found, key=os.fsencode)


def _check_is_file(name: str) -> None:
    """Check that this is a regular file: reading a pipe would wait for a writer for ever.

    Raises:
        IsADirectoryError: it is a directory.
        OSError: it is another kind of file, or there is none.
    """
    mode = Path(name).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")


def _text_of(name: str) -> str:
    """The text of a file; of a file that is too large, just enough for the reader to refuse it."""
    with Path(name).open("rb") as file:
        data = file.read(hcl.MAX_BYTES + 1)
    return data.decode(errors="strict" if len(data) <= hcl.MAX_BYTES else "replace")


def _merge(into: dict[str, Written], later: Mapping[str, Written], changes: list[str]) -> None:
    known = {key.path: key for key in all_keys()}
    for path, written in later.items():
        earlier = into.get(path)
        new = written
        if earlier is not None and isinstance(written.value, dict):
            new = Written({**earlier.value, **written.value}, written.place)
        elif earlier is not None and path in _GROWING:
            new = Written((*earlier.value, *written.value), written.place)
        if earlier is not None and earlier.value != new.value:
            old, now = shown(known[path], earlier.value), shown(known[path], new.value)
            changes.append(f"{path}: {old} ({earlier.place}) became {now} ({written.place})")
        into[path] = new


def _build(merged: Mapping[str, Written], dev: bool) -> Settings:
    settings = Settings(name=socket.gethostname())
    for path, value in _DEV.items() if dev else ():
        settings = put_value(settings, path, value)
    for path, written in merged.items():
        settings = put_value(settings, path, written.value)
    return settings


def _flags(given: Mapping[str, Any]) -> Decoded:
    out = Decoded({}, [])
    known = {key.path: key for key in all_keys()}
    for flag in FLAGS:
        if flag.path and given.get(flag.name) is not None:
            result = _flag_value(flag, known[flag.path], given[flag.name])
            if isinstance(result, Fault):
                message = f"Error parsing -{flag.name}: {result.message}"
                out.problems.append(Problem(phase=Phase.LOAD, message=message, keys=(flag.path,)))
            else:
                out.values[flag.path] = Written(result, f"-{flag.name}")
    return out


def _flag_value(flag: Flag, key: Key, value: Any) -> Any:
    if flag.kind == "list":
        return tuple(value)
    if flag.kind == "commas":
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if flag.kind == "map":
        pairs = [pair for text in value for pair in text.split(",")]
        bad = next((pair for pair in pairs if "=" not in pair), None)
        if bad is not None:
            return Fault(Phase.LOAD, f"{bad}: wants key=value", "")
        return dict(pair.split("=", 1) for pair in pairs)
    return convert(key, hcl.Scalar(value, 0, 0))


def _notes(merged: Mapping[str, Written], dev: bool) -> tuple[str, ...]:
    out = []
    if dev:
        out.append("-dev starts the server part alone: there is no node agent yet")
    if any(path.startswith(_SCHEDULER) for path in merged):
        missing = [
            f"{key.path.removeprefix(_SCHEDULER)} = {shown(key, key.default)}"
            for key in all_keys()
            if key.path.startswith(_SCHEDULER) and key.kind != "block" and key.path not in merged
        ]
        if missing:
            out.append("default_scheduler_config takes built-in defaults: " + ", ".join(missing))
    out += [
        f"the license in {merged[path].place} is not installed by the agent: use "
        "'bellcow license put'"
        for path in ("server.license_env", "server.license_path")
        if path in merged
    ]
    if any(f"server.{name}" in merged for name in _OLD_JOIN):
        out.append("using deprecated retry_join fields. Upgrade configuration to use server_join")
    return tuple(out)
