"""`agent`: runs a server. Its flags are declared in `config/flags.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bellcow.cli.shell import flags
from bellcow.cli.shell.flags import flag, switch
from bellcow.config.flags import FLAGS, Flag

if TYPE_CHECKING:
    from collections.abc import Callable

_SUMMARY = (
    "Runs a server until it is interrupted.\n\n"
    "Settings come from each -config in the order given, later ones over earlier ones, and flags "
    "over all of them. SIGHUP reads the files again; SIGINT and SIGTERM stop the server cleanly. "
    "With -dev one server runs on loopback and keeps its state in memory, or in -data-dir."
)
_METAVARS = {"list": "value", "commas": "a,b", "map": "key=value", "number": "n"}


def _option(one: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    if one.kind == "bool":
        return switch(one.name, one.help, into=_into(one), default=None)
    metavar = _METAVARS.get(one.kind, one.kind)
    return flag(one.name, metavar, one.help, many=one.repeat, into=_into(one))


def _into(one: Flag) -> str:
    return one.name.replace("-", "_")


def _run(**given: Any) -> None:
    from bellcow.agent.main import run

    by_name = {one.name: given[_into(one)] for one in FLAGS}
    flags = {name: value for name, value in by_name.items() if value not in {None, ()}}
    paths = list(flags.pop("config", ()))
    dev = bool(flags.pop("dev", False))
    click.get_current_context().exit(run(paths, flags, dev))


for _flag in reversed(FLAGS):
    _run = _option(_flag)(_run)

agent = flags.command(_SUMMARY)(_run)
