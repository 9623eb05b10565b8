"""Hints for the user after a refusal, from the status and text of an answer or a failed request.

Pure: it reads no environment and sends no request. An unknown text has no hint.
"""

from __future__ import annotations

_SEND_ONE = (
    "No token was sent: set BELLCOW_TOKEN or give -token.\n"
    "Was the cluster never bootstrapped? 'bellcow acl bootstrap' makes the first token."
)
_LACKS_RIGHT = (
    "The token lacks a right that this needs; 'bellcow acl token self' shows what it has."
)
_UNKNOWN = "No token has this secret. Is it the Secret ID, and not the Accessor ID?"
_NO_LEADER = (
    "'bellcow operator raft list-peers -stale' shows what this server knew last; its log says "
    "what it waits for."
)
_SPEAKS_TLS = "The server speaks TLS: begin the address with https:// (-address, BELLCOW_ADDR)."
_SPEAKS_PLAIN = "The server speaks no TLS: begin the address with http:// (-address, BELLCOW_ADDR)."
_SERVERS_PORT = "This is the port between servers; the HTTP API has its own, 4646 by default."
_LAST_VOTER = (
    "It is the last voter. To shut the cluster down, stop the server; to replace it, let another "
    "one join and get a vote first."
)
_NOT_AN_ID = "An ID looks like 88d0d276-86f1-511a-6be0-20dd3ec00188; the list command has them all."

# Status, part of the text, hint; the first match counts.
_BY_TEXT = (
    (403, "ACL token not found", _UNKNOWN),
    (500, "No cluster leader", _NO_LEADER),
    (400, "HTTP request to an HTTPS server", _SPEAKS_TLS),
    (404, "nothing of this name between servers", _SERVERS_PORT),
    (500, "Need at least one voter", _LAST_VOTER),
    (500, "UUID must be 36 characters", _NOT_AN_ID),
)


def of_answer(status: int, text: str, *, token_sent: bool) -> str:
    """The hint for an unexpected answer; "" if there is none."""
    if status == 403 and "Permission denied" in text:
        return _LACKS_RIGHT if token_sent else _SEND_ONE
    found = (hint for code, part, hint in _BY_TEXT if status == code and part in text)
    return next(found, "")


def of_regions(known: list[str]) -> str:
    """The hint for an unknown region."""
    return f"The regions known there: {', '.join(known)}." if known else ""


def of_failure(reason: str, address: str, *, default: bool) -> str:
    """The hint for a request without an answer; `reason` is Go's text."""
    if "connection refused" in reason:
        if default:
            return (
                "No server listens at the default address; -address or BELLCOW_ADDR says where "
                "one does."
            )
        return f"No server listens at {address}. Is it running, and are host and port right?"
    if "no such host" in reason:
        return "Is the name of the host right (-address, BELLCOW_ADDR)?"
    if "no route to host" in reason or "unreachable" in reason or "i/o timeout" in reason:
        return f"Nothing answers at {address}: is the machine up, and the way to it open?"
    if "HTTP response to HTTPS client" in reason:
        return _SPEAKS_PLAIN
    return ""
