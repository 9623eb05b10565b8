"""The HTTP status of each error code."""

from __future__ import annotations

from bellcow.errors import Code

STATUS = {
    Code.INVALID: 400,
    Code.DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.WRONG_METHOD: 405,
    Code.TIMEOUT: 408,
    Code.CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED: 415,
    Code.MISDIRECTED: 421,
    Code.TOO_MANY: 429,
    Code.REFUSED: 500,
    Code.NO_LEADER: 500,
    Code.UNAVAILABLE: 500,
    Code.UNKNOWN_OUTCOME: 500,
    Code.INTERNAL: 500,
    Code.NOT_IMPLEMENTED: 501,
}
