"""From a handler's reply to the bytes of an answer: JSON, plain text, gzip, redirects."""

from __future__ import annotations

import posixpath
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bellcow.api.call import Reply
from bellcow.api.message import Confirming, Response
from bellcow.gocompat.duration import NS_PER_S
from bellcow.wire import pretty, to_json

if TYPE_CHECKING:
    from bellcow.api.message import Headers, Request
    from bellcow.server import Server

JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
HTML = (b"Content-Type", b"text/html; charset=utf-8")
GZIP = (b"Content-Encoding", b"gzip")

SKEW_NS = NS_PER_S // 10  # between clocks that the network sets
ANY_AGE_NS = 86_400 * NS_PER_S


def contact(server: Server, request: Request) -> tuple[bool, int]:
    """Whether a leader is known, and the greatest age of an answer from memory, in nanoseconds."""
    if server.leadership.is_leader:
        return True, 0
    if isinstance(request.progress, Confirming):  # it came, or nothing would be answered
        return bool(server.leadership.leader_id), 0
    leader = server.roster.table.leader
    if leader is None or leader.server_id == server.roster.itself.server_id:
        return False, _age_without_leader_ns(server)
    age_s = server.roster.age_s(server.tables.index)
    age_ns = _age_without_leader_ns(server) if age_s is None else int(age_s * NS_PER_S)
    return bool(server.leadership.leader_id), age_ns


def _age_without_leader_ns(server: Server) -> int:
    """The age of memory that has not caught up with a leader since our start.

    It is at least the age of this process, and at least what the wall clocks say of the last
    commit. One of the clocks is wrong if that is in the future: then any age is possible.
    """
    committed_ns = server.tables.head.time_ns
    age_ns = server.clock.wall_ns() - committed_ns if committed_ns else 0
    if age_ns < -SKEW_NS:
        return ANY_AGE_NS
    return max(age_ns, int(server.roster.since_start_s() * NS_PER_S))


def as_reply(value: Any) -> Reply[Any]:
    """What a handler returned as a reply: a bare value is its body, None is no body."""
    return value if isinstance(value, Reply) else Reply(value)


def encode(request: Request, reply: Reply[Any]) -> tuple[bytes, Headers]:
    """Body and Content-Type of a reply; none for an empty one."""
    if reply.text is not None:
        return reply.text.encode("utf-8", "replace"), [TEXT]
    if reply.stream is not None or reply.content_type is not None:
        kind = (reply.content_type or "application/octet-stream").encode("ascii")
        return reply.encoded or b"", [(b"Content-Type", kind)]
    if reply.encoded is None and reply.value is None:
        return b"", []
    body = reply.encoded if reply.encoded is not None else to_json(reply.value)
    # Nomad: any value of `pretty` but 0 asks for it, "false" included.
    if request.has("pretty") and request.param("pretty") != "0":
        body = pretty(body, reply.one_line)
    return body, [JSON]


def compress(body: bytes) -> bytes:
    """Gzip at the cheapest level: answers are small or cached."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def pack(request: Request, response: Response) -> Response:
    """Compress the body when the client accepts that. Nomad: whatever its size and status."""
    if response.body and not response.packed and request.accepts_gzip:
        response.body = compress(response.body)
        response.headers.append(GZIP)
    response.packed = True
    return response


def redirect(status: int, target: str, request: Request) -> Response:
    """A redirect that keeps the query, with Go's one line of HTML."""
    location = quote(target, safe="/:@!$&'()*+,;=~-._")
    if request.raw_query:
        location += "?" + request.raw_query.decode("latin-1")
    words = {301: "Moved Permanently", 307: "Temporary Redirect"}[status]
    escaped = location.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&#34;")
    body = f'<a href="{escaped}">{words}</a>.\n\n' if request.method in {"GET", "HEAD"} else ""
    headers: Headers = [(b"Location", location.encode("latin-1", "replace"))]
    if body:
        headers.insert(0, HTML)
    return Response(status, headers, body.encode())


def cleaned(path: str) -> str:
    """The path without `//`, `.` and `..`; a slash at its end stays."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def is_unclean(raw_path: bytes) -> bool:
    """Whether the path as sent holds `//`, `.` or `..`; it is never decoded twice."""
    if b"//" not in raw_path and b"/." not in raw_path:
        return False
    return any(part in {b"", b".", b".."} for part in raw_path[1:].rstrip(b"/").split(b"/")) or (
        raw_path.endswith(b"//")
    )
