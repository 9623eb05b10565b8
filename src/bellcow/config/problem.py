"""Problems of a configuration, and the step of the start at which each is printed."""

from __future__ import annotations

import enum

import msgspec

from bellcow.gocompat.quote import go_quote


class Phase(enum.IntEnum):
    """The steps of a start, in order. A problem belongs to the step at which Nomad prints it."""

    LOAD = 0  # reading the files
    CHECK = 1  # before anything is announced
    TELEMETRY = 2  # after the list of files
    AGENT = 3  # after `Starting Nomad agent...`, as are all that follow
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
    """One error of the configuration, or a warning.

    `keys` are the paths of its settings; `allowed` says what would be right; `places` are lines
    that replace the places of these settings.
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
    """A string as Go quotes it, cut after 200 characters."""
    return go_quote(text, 200)
