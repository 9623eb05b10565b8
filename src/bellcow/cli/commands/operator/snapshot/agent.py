"""`operator snapshot agent`: save at an interval and keep the newest files, until stopped.

Run one beside each server: each asks its own server, and only the leader's saves.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.cli.shell.errors import CommandError, RequestError, failing
from bellcow.cli.shell.flags import DURATION, UINT, flag, switch
from bellcow.cli.shell.output import complain, say, size
from bellcow.cli.shell.session import Session, command
from bellcow.gocompat.duration import NS_PER_S

if TYPE_CHECKING:
    from types import FrameType

    from bellcow.cli.shell.client import Client

_NAME = re.compile(r"nomad-state-\d{8}-\d+\.snap")
_ASKING = "Failed to ask the server whether it leads: "
_HOUR_NS = 3600 * NS_PER_S


@command(
    "Saves the state at an interval into a directory and keeps the newest files.\n\n"
    "Only the leader's state is saved, so one can run beside each server; -any lifts that. Nothing "
    "is saved once the cluster's license has ended. Ends with 0 when it is stopped, and with 1 "
    "when a single save (-interval=0) fails. Needs a token with snapshot-save and agent:read."
)
@flag("interval", "duration", "Time between saves; 0 saves once.", kind=DURATION, default=_HOUR_NS)
@flag("local-path", "dir", "Directory for the files.", default=".")
@flag("retain", "n", "How many files to keep; 0 keeps all.", kind=UINT, default=30)
@switch("any", "Save even if this server does not lead.", into="any_server")
def agent(
    session: Session, *, interval: int, local_path: str, retain: int, any_server: bool
) -> None:
    directory = Path(local_path)
    if not directory.is_dir():
        raise CommandError(f"No directory {local_path}: make it, or give another -local-path")
    if interval < 0:
        raise session.misuse("-interval must not be negative")
    if interval == 0:
        with failing(_ASKING):
            _save_if_due(session.client, directory, retain, any_server=any_server)
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        while True:
            _round(session.client, directory, retain, any_server=any_server)
            sys.stdout.flush()
            time.sleep(interval / NS_PER_S)
    except KeyboardInterrupt:
        say("Stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _round(client: Client, directory: Path, retain: int, *, any_server: bool) -> None:
    """One save; a failure is printed, and the next round tries again."""
    try:
        _save_if_due(client, directory, retain, any_server=any_server)
    except CommandError as error:
        complain(error.message)
    except RequestError as error:
        complain(f"{_ASKING}{error.message}")


def _save_if_due(client: Client, directory: Path, retain: int, *, any_server: bool) -> None:
    stats = client.get("/v1/agent/self")["stats"]
    license_ = stats.get("license", {})  # the built-in license is not worth a line
    if license_.get("phase") == "terminated":
        raise CommandError(f"Nothing saved: {license_.get('status')}")
    if any_server or stats["nomad"]["leader"] == "true":
        _save(client, directory, retain)
    else:
        say("Nothing saved: this server does not lead")


def _save(client: Client, directory: Path, retain: int) -> None:
    from bellcow.cli.commands.operator.snapshot import download
    from bellcow.clock import SystemClock

    path = directory / download.default_name(SystemClock().wall_ns())
    info = download.save(client, path, stale=False)
    say(f"State file written to {path}: index {info.index}, {size(path.stat().st_size)}")
    for old in superseded([entry.name for entry in directory.iterdir()], retain):
        (directory / old).unlink(missing_ok=True)


def superseded(names: list[str], retain: int) -> list[str]:
    """Those of these names that are the agent's, without the newest `retain`."""
    ours = sorted((name for name in names if _NAME.fullmatch(name)), key=_made)
    return ours[:-retain] if retain else []


def _made(name: str) -> int:
    return int(name.removesuffix(".snap").rpartition("-")[2])
