"""The value of a key from what a file says: one function a type, with the refusals of Nomad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.config.problem import Phase, quoted
from bellcow.gocompat import hcl
from bellcow.gocompat.duration import Duration

if TYPE_CHECKING:
    from bellcow.config.keys import Key

_TRUE = {"1", "true"}
_FALSE = {"0", "false"}
# Nomad refuses these while it reads the file; the value is the name in its message.
_EARLY_DURATIONS = {
    "client.gc_interval": "gc_interval",
    "acl.token_ttl": "acl.token_ttl",
    "acl.policy_ttl": "acl.policy_ttl",
    "client.server_join.retry_interval": "client.server_join.retry_interval",
    "server.heartbeat_grace": "server.heartbeat_grace",
    "server.min_heartbeat_ttl": "server.min_heartbeat_ttl",
    "server.retry_interval": "server.retry_interval",
    "server.server_join.retry_interval": "server.server_join.retry_interval",
    "autopilot.server_stabilization_time": "autopilot.server_stabilization_time",
    "autopilot.last_contact_threshold": "autopilot.last_contact_threshold",
    "telemetry.collection_interval": "telemetry.collection_interval",
}
# Nomad refuses these at a later step: which one, and the words before Go's text.
_SETUP = "server config setup failed: "
_LATE_DURATIONS = {
    "server.job_gc_interval": (Phase.AGENT, _SETUP + "failed to parse job_gc_interval: "),
    "server.node_gc_threshold": (Phase.AGENT, _SETUP),
    "server.job_gc_threshold": (Phase.AGENT, _SETUP),
    "server.eval_gc_threshold": (Phase.AGENT, _SETUP),
    "server.deployment_gc_threshold": (Phase.AGENT, _SETUP),
    "limits.rpc_handshake_timeout": (Phase.AGENT, _SETUP + "error parsing rpc_handshake_timeout: "),
    "limits.https_handshake_timeout": (Phase.HTTP, "error parsing https_handshake_timeout: "),
    "log_rotate_duration": (Phase.CHECK, "Failed to parse log rotation duration: "),
}
_DURATION_HELP = "a duration is a number with a unit, such as 200ms, 30s, 5m or 1h30m"


class Fault(NamedTuple):
    """Why a value is refused: the text, at which step of the start, and what would be right."""

    phase: Phase
    message: str
    allowed: str


def convert(key: Key, node: hcl.Value) -> Any:
    """The value of a node for a key, or a Fault."""
    if key.kind == "string":
        return _string(node, key.path)
    if key.kind == "number":
        return _number(node, key.path)
    if key.kind == "float":
        return _float(node, key.path)
    if key.kind == "bool":
        return _bool(node, key.path)
    if key.kind == "duration":
        return _duration(node, key)
    return _list(node, key.path)


def _unknown_type(node: hcl.Value, path: str, wanted: str) -> Fault:
    found = {hcl.ListNode: "a list", hcl.Body: "a block"}.get(type(node), "a single value")
    if isinstance(node, hcl.Scalar) and isinstance(node.value, bool):
        found = "a boolean"
    message = f"At {node.line}:{node.column}: {path}: wants {wanted}, got {found}"
    return Fault(Phase.LOAD, message, f"must be {wanted}")


def _string(node: hcl.Value, path: str) -> str | Fault:
    """Nomad: a number or a boolean is accepted as a string, as it was written."""
    if isinstance(node, hcl.Scalar):
        return node.value if isinstance(node.value, str) else node.text or str(node.value)
    return _unknown_type(node, path, "a string")


def _number(node: hcl.Value, path: str) -> int | Fault:
    allowed = "must be a whole number"
    if isinstance(node, hcl.Scalar) and isinstance(node.value, str):
        text = node.value
        try:
            # Go and Python share base prefixes and underscores; Go allows no spaces.
            number = int(text, 0) if len(text) <= 70 and text == text.strip() else None
        except ValueError:
            number = _old_octal(text)
        if number is None:
            message = f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax"
            return Fault(Phase.LOAD, message, allowed)
        if not -(1 << 63) <= number < 1 << 63:
            message = f"strconv.ParseInt: parsing {quoted(text)}: value out of range"
            return Fault(Phase.LOAD, message, allowed)
        return number
    if (
        isinstance(node, hcl.Scalar)
        and isinstance(node.value, int)
        and not isinstance(node.value, bool)
    ):
        return node.value
    return _unknown_type(node, path, "a whole number")


def _old_octal(text: str) -> int | None:
    """`0755`, which Go reads as octal and Python refuses."""
    digits = text.removeprefix("-").removeprefix("+")
    if digits.startswith("0") and digits.isdigit() and digits.isascii():
        try:
            return int(text, 8)
        except ValueError:
            return None
    return None


def _float(node: hcl.Value, path: str) -> float | Fault:
    if isinstance(node, hcl.Scalar) and not isinstance(node.value, bool):
        try:
            return float(node.value)
        except ValueError:
            message = f"strconv.ParseFloat: parsing {quoted(str(node.value))}: invalid syntax"
            return Fault(Phase.LOAD, message, "must be a number")
    return _unknown_type(node, path, "a number")


def _bool(node: hcl.Value, path: str) -> bool | Fault:
    if not isinstance(node, hcl.Scalar) or isinstance(node.value, float):
        return _unknown_type(node, path, "true or false")
    text = str(node.value).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    written = quoted(node.value) if isinstance(node.value, str) else str(node.value)
    message = f"decodeBool: Unknown value for boolean: {written}"
    return Fault(Phase.LOAD, message, "must be true or false")


def _duration(node: hcl.Value, key: Key) -> Duration | Fault:
    text = _string(node, key.path)
    if isinstance(text, Fault):
        return text
    if not text:  # Nomad: an empty duration means the default
        default: Duration = key.default
        return default
    try:
        return Duration.parse(text)
    except ValueError as error:
        if key.path in _LATE_DURATIONS:
            phase, words = _LATE_DURATIONS[key.path]
            return Fault(phase, f"{words}{error}", _DURATION_HELP)
        name = _EARLY_DURATIONS.get(key.path, key.path)
        return Fault(Phase.LOAD, f"{name} can't parse time duration {text}", _DURATION_HELP)


def _list(node: hcl.Value, path: str) -> tuple[str, ...] | Fault:
    if not isinstance(node, hcl.ListNode):
        return _unknown_type(node, path, "a list of strings")
    out = []
    for element in node.items:
        text = _string(element, path)
        if isinstance(text, Fault):
            return text
        out.append(text)
    return tuple(out)
