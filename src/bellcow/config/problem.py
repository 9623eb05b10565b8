"""What is wrong with a configuration, and at which moment of the start the operator reads of it."""

from __future__ import annotations

import enum

import msgspec

from bellcow.gocompat.quote import go_quote


class Phase(enum.IntEnum):
    """The steps of a start, in order. A problem belongs to the step at which Nomad tells of it."""

    LOAD = 0  # reading the files
    CHECK = 1  # before anything is announced
    TELEMETRY = 2  # behind the list of files
    AGENT = 3  # behind `Starting Nomad agent...`, as are all that follow
    HTTP = 4
    JOIN = 5


PREFIXES = {
    Phase.LOAD: "",
    Phase.CHECK: "",
    Phase.TELEMETRY: "Error initializing telemetry: ",
    Phase.AGENT: "Error starting agent: ",
    Phase.HTTP: "Error starting http server: ",
    Phase.JOIN: "",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or, as a warning, suspicious.

    `keys` are the paths of the settings it is about, `allowed` says what would be right, and
    `places` are lines that say where, for problems whose place is not that of a setting.
    """

    phase: Phase
    message: str
    keys: tuple[str, ...] = ()
    allowed: str = ""
    places: tuple[str, ...] = ()
    warning: bool = False

    @property
    def text(self) -> str:
        """The message as it is printed, without the arrow."""
        return PREFIXES[self.phase] + self.message


def quoted(text: str) -> str:
    """A string as Go prints it, cut where it is very long."""
    return go_quote(text, 200)
