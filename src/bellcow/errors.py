"""The one error type that crosses module edges, and the closed list of its codes.

Only `api/errors.py` turns a code into a status. The client reads the message, so it says what to
do next where something can be done.
"""

from __future__ import annotations

import enum


class Code(enum.Enum):
    """The kind of a refusal. Each kind has a line in `api/errors.py`."""

    INVALID = "invalid"  # the request itself is wrong
    DENIED = "denied"  # the token lacks the right, or is unknown
    NOT_FOUND = "not_found"  # the named object does not exist
    WRONG_METHOD = "wrong_method"  # the path exists, the method on it does not
    TIMEOUT = "timeout"  # the client was too slow
    CONFLICT = "conflict"  # refused to protect the cluster; `force` may do it
    TOO_LARGE = "too_large"  # over a limit that the message names
    UNSUPPORTED = "unsupported"  # a format or feature that is switched off
    MISDIRECTED = "misdirected"  # a Host header that names another server
    TOO_MANY = "too_many"  # over a rate limit; retry later
    REFUSED = "refused"  # Nomad: a plain refusal, status 500, with a text clients match on
    NO_LEADER = "no_leader"  # no server leads at the moment
    UNAVAILABLE = "unavailable"  # certainly not done; may succeed later
    UNKNOWN_OUTCOME = "unknown_outcome"  # sent; it may have been done or not
    NOT_IMPLEMENTED = "not_implemented"  # not offered by this kind of agent
    INTERNAL = "internal"  # a bug; the log has the details


class Error(Exception):
    """A refusal: a code for programs, a message for people."""

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
