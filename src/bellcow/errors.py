"""The one error type that crosses module edges, and the closed list of its codes.

A code says what kind of refusal it is; `api/errors.py` is the only place that turns one into a
status. The message is what the client reads, so it says what to do next where there is something
to do.
"""

from __future__ import annotations

import enum


class Code(enum.Enum):
    """What kind of refusal this is.

    The list is closed: a new kind needs a line in `api/errors.py`.
    """

    INVALID = "invalid"  # the request itself is wrong
    DENIED = "denied"  # the token lacks the right, or is unknown
    NOT_FOUND = "not_found"  # the thing named does not exist
    WRONG_METHOD = "wrong_method"  # the path exists, the method on it does not
    TIMEOUT = "timeout"  # the client was too slow
    CONFLICT = "conflict"  # refused to protect the cluster; `force` may do it
    TOO_LARGE = "too_large"  # over a limit that the message names
    UNSUPPORTED = "unsupported"  # a format that is not switched on
    MISDIRECTED = "misdirected"  # a Host header that is not ours
    TOO_MANY = "too_many"  # come back later
    REFUSED = "refused"  # Nomad: a plain refusal, status 500, with a text clients match on
    NO_LEADER = "no_leader"  # nobody leads at the moment
    UNAVAILABLE = "unavailable"  # certainly not done; may work later
    UNKNOWN_OUTCOME = "unknown_outcome"  # sent, and nobody knows whether it was done
    NOT_IMPLEMENTED = "not_implemented"  # not offered by this kind of agent
    INTERNAL = "internal"  # ours; the log has the rest


class Error(Exception):
    """A refusal with a code for the program and a message for the person."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Error:
    return Error(Code.INVALID, message)


def denied(message: str = "Permission denied") -> Error:
    return Error(Code.DENIED, message)


def not_found(message: str) -> Error:
    return Error(Code.NOT_FOUND, message)


def refused(message: str) -> Error:
    return Error(Code.REFUSED, message)


def no_leader() -> Error:
    return Error(Code.NO_LEADER, "No cluster leader")
