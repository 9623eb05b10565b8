"""Recorded exchanges with the real server, and what it takes to hold ours against them.

An exchange is translated (ids, secrets, addresses and indexes differ from server to server), sent,
and its answer compared. Knows no route and no deviation: those stand in the tests.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.harness import Answer

RECORDINGS = Path(__file__).parent / "recordings"

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
INDEX_KEYS = {"Index", "CreateIndex", "ModifyIndex"}
ID_KEYS = {"AccessorID", "SecretID", "ID", "id"}
TIME_KEYS = {
    "CreateTime",
    "ExpirationTime",
    "IssueTime",
    "StableSince",
    "StartTime",
    "TerminationTime",
}
# Maps of the real server, whose keys come in any order.
UNORDERED = {"Matches", "Tags", "Truncations"}
GROWING_KEYS = {"LastIndex", "LastTerm"}
VERSION_KEYS = {"Version", "build"}
# Keys that newer versions added, and the tag that carries our own version.
ADDED = {
    "Capabilities",
    "ExpirationTTL",
    "ExpirationTime",
    "Leader",
    "Meta",
    "MemoryOversubscriptionEnabled",
    "NodeLimitForFeasibilityChecks",
    "PauseEvalBroker",
    "RejectJobRegistration",
    "Roles",
    "SysBatchSchedulerEnabled",
    "Voters",
    "bellcow",
}
# Headers in which the two answers must agree; others are the business of the connection.
EXACT_HEADERS = (
    "Content-Type",
    "Content-Encoding",
    "X-Nomad-KnownLeader",
    "X-Nomad-LastContact",
    "Vary",
    "Location",
    "Allow",
    "Access-Control-Allow-Origin",
    "Warning",
)


class Exchange(msgspec.Struct, kw_only=True):
    """One line of a recording."""

    method: str
    path: str
    port: int = 0
    request_headers: dict[str, str] = {}
    request_transfer: str = ""
    request_body: str | None = None
    request_body_note: str = ""
    status: int | None = None
    response_headers: dict[str, str] | None = None
    response_body: str | None = None
    response_body_base64: str = ""
    response_body_note: str = ""
    note: str = ""


def recorded(name: str) -> list[Exchange]:
    """The exchanges of one recording, in order."""
    lines = (RECORDINGS / f"{name}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Exchange) for line in lines]


class Expected(msgspec.Struct, kw_only=True):
    """What an answer must be. One of `text` and `value` holds the body; neither: it is not looked
    at. `headers` are those of `EXACT_HEADERS`, by lower-case name.
    """

    status: int
    headers: dict[str, str]
    index: int | None = None
    text: str | None = None
    begins: bool = False
    value: Any = None
    archive: bool = False
    layout: str | None = None


def expected_of(exchange: Exchange) -> Expected:
    """What the real server answered, taken apart."""
    headers = {name.lower(): value for name, value in (exchange.response_headers or {}).items()}
    out = Expected(
        status=exchange.status or 0,
        headers={n.lower(): headers[n.lower()] for n in EXACT_HEADERS if n.lower() in headers},
        archive="digest" in headers,
    )
    if "x-nomad-index" in headers:
        out.index = int(headers["x-nomad-index"])
    body = _recorded_body(exchange)
    if body is None or out.archive:
        return out
    if body[:1] in {"{", "[", '"'} or body.strip() in {"true", "false"}:
        out.value = json.loads(body)
        out.layout = body
    else:
        out.text = body
    return out


def _recorded_body(exchange: Exchange) -> str | None:
    if exchange.response_body_base64:
        raw = base64.b64decode(exchange.response_body_base64)
        headers = exchange.response_headers or {}
        if "x-gzip" in headers.get("Content-Type", ""):
            return None
        return _gunzip(raw).decode()
    return exchange.response_body


def _gunzip(body: bytes) -> bytes:
    """Go flushes after the last byte, which zlib takes in stride."""
    return zlib.decompressobj(31).decompress(body)


class World:
    """What recorded ids, secrets, addresses and indexes are called on our server.

    Indexes are held against each other as relations: the same recorded index is always the same of
    ours, and of two recorded ones the larger is the larger of ours. So "unchanged", "grew" and
    "equal to the one in the body" are all checked without a word about them.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.indexes = {0: 0, 1: 1}
        self.archives: list[bytes] = []

    def ours(self, text: str) -> str:
        """The text with recorded names replaced by ours."""
        if not self.names:
            return text
        longest_first = sorted(self.names, key=len, reverse=True)
        pattern = "|".join(rf"\b{re.escape(name)}\b" for name in longest_first)
        return re.sub(pattern, lambda match: self.names[match[0]], text)

    def our_path(self, path: str) -> str:
        """The same with indexes in `cas` and in a blocking `index` translated."""
        translated = re.sub(
            r"([?&](?:cas|index)=)(\d+)",
            lambda m: f"{m[1]}{self.indexes.get(int(m[2]), int(m[2]))}",
            path,
        )
        return self.ours(translated)

    def our_text(self, text: str) -> str:
        """A message; indexes that it tells are translated."""
        told = re.sub(
            r"((?:reset index:|specified) )(\d+)",
            lambda m: f"{m[1]}{self.indexes.get(int(m[2]), int(m[2]))}",
            text,
        )
        return self.ours(told)

    def index_problem(self, recorded_index: int, got: object) -> str:
        """Why `got` cannot be the recorded index; "" when it can, and then it is."""
        if type(got) is not int:
            return f"index {got!r} is not a number"
        if recorded_index in self.indexes:
            want = self.indexes[recorded_index]
            return "" if got == want else f"index {got}, recorded {recorded_index} is {want} here"
        for other, mine in self.indexes.items():
            if (other < recorded_index) != (mine < got) or mine == got:
                return f"index {got} for {recorded_index} against {mine} for {other}"
        self.indexes[recorded_index] = got
        return ""

    def id_problem(self, recorded_id: str, got: object) -> str:
        """The same for ids and secrets, which have no order."""
        if not isinstance(got, str) or not UUID.fullmatch(got):
            return f"{got!r} is not a UUID"
        if recorded_id in self.names:
            return "" if self.names[recorded_id] == got else f"id {got}, not that of {recorded_id}"
        if got in self.names.values():
            return f"id {got} belongs to another"
        self.names[recorded_id] = got
        self.names[recorded_id[:8]] = got[:8]  # as in a search by prefix
        return ""


# Comparing


def problems(world: World, expected: Expected, answer: Answer) -> list[str]:
    """All that is wrong with an answer."""
    out = []
    if answer.status != expected.status:
        out.append(f"status {answer.status}, not {expected.status}")
    for name in EXACT_HEADERS:
        want, got = expected.headers.get(name.lower()), answer.header(name)
        if want is not None and name == "Location":
            want = world.ours(want)
        if got != want and not (name == "Warning" and want and got and want in got):
            out.append(f"{name}: {got!r}, not {want!r}")
    out += _index_header(world, expected, answer)
    body = answer.body
    if answer.header("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if expected.archive:
        out += _archive_problems(answer, body)
    elif expected.text is not None:
        out += _text_problems(world.our_text(expected.text), body, begins=expected.begins)
    elif expected.value is not None:
        out += _value_problems(world, expected, body)
    return out


def _index_header(world: World, expected: Expected, answer: Answer) -> list[str]:
    got = answer.header("X-Nomad-Index")
    if expected.index is None or got is None:
        same = expected.index is None and got is None
        return [] if same else [f"X-Nomad-Index {got}, recorded {expected.index}"]
    problem = world.index_problem(expected.index, int(got))
    return [f"X-Nomad-Index: {problem}"] if problem else []


def _archive_problems(answer: Answer, body: bytes) -> list[str]:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    out = []
    if answer.header("Digest") != f"sha-256={digest}":
        out.append(f"Digest {answer.header('Digest')} is not that of the body")
    if list(members(body)) != ["meta.json", "state.bin", "SHA256SUMS"]:
        out.append(f"the archive holds {list(members(body))}")
    return out


def _text_problems(want: str, body: bytes, *, begins: bool) -> list[str]:
    got = body.decode("utf-8", "replace")
    # Which of two missing files is named first is a matter of a map's order.
    loose = [re.sub(r'(file missing for )".*"', r"\1", text) for text in (want, got)]
    fine = loose[1].startswith(loose[0]) if begins else loose[1] == loose[0]
    return [] if fine else [f"body {got[:300]!r}, not {want[:300]!r}"]


def _value_problems(world: World, expected: Expected, body: bytes) -> list[str]:
    try:
        got = json.loads(body)
    except ValueError:
        return [f"body {body[:300]!r} is not JSON"]
    out = compare(world, expected.value, got)
    if expected.layout is not None:
        out += _layout_problems(expected.layout, body.decode())
    return out


def _layout_problems(want: str, got: str) -> list[str]:
    """Indentation, line ends and one-line parts; values and added keys do not matter."""
    wanted, shown = _skeleton(want), _skeleton(got)
    rest = iter(shown)
    if all(line in rest for line in wanted) and want.endswith("\n") == got.endswith("\n"):
        return []
    return [f"laid out as {shown}, not as {wanted}"]


def _skeleton(text: str) -> list[str]:
    lines = text.splitlines()
    return [re.match(r'\s*(?:"[^"]+": ?)?[\[{}\]]?', line)[0] for line in lines]  # type: ignore[index]


def compare(world: World, want: Any, got: Any, key: str = "") -> list[str]:
    """How two JSON values differ, where they must not."""
    if isinstance(want, dict) and isinstance(got, dict):
        return _compare_objects(world, want, got, key)
    if isinstance(want, list) and isinstance(got, list):
        return _compare_lists(world, want, got, key)
    problem = _leaf_problem(world, want, got, key)
    return [f"{key or 'body'}: {problem}"] if problem else []


def _compare_objects(
    world: World, want: dict[str, Any], got: dict[str, Any], key: str
) -> list[str]:
    out = [f"{key}: {name} is missing" for name in want if name not in got]
    out += [f"{key}: {name} is new" for name in got if name not in want and name not in ADDED]
    if key not in UNORDERED and [k for k in got if k in want] != [k for k in want if k in got]:
        out.append(f"{key}: keys in the order {list(got)}")
    for name, value in want.items():
        if name in got:
            out += compare(world, value, got[name], name)
    return out


def _compare_lists(world: World, want: list[Any], got: list[Any], key: str) -> list[str]:
    if len(want) != len(got):
        return [f"{key}: {len(got)} items, not {len(want)}"]
    if want and isinstance(want[0], dict) and "AccessorID" in want[0]:
        # Sorted by a random id, so in another order here.
        if got != sorted(got, key=lambda item: item["AccessorID"]):
            return ["not sorted by accessor"]
        want = sorted(want, key=lambda item: world.names.get(item["AccessorID"], ""))
    return [p for w, g in zip(want, got, strict=True) for p in compare(world, w, g, key)]


def _leaf_problem(world: World, want: Any, got: Any, key: str) -> str:
    if key in INDEX_KEYS and type(want) is int:
        return world.index_problem(want, got)
    if key in GROWING_KEYS and type(want) is int:
        return "" if type(got) is int and (got > 0) == (want > 0) else f"{got!r}"
    if isinstance(want, str):
        if key in ID_KEYS and UUID.fullmatch(want):
            return world.id_problem(want, got)
        if key in TIME_KEYS:
            return "" if isinstance(got, str) and RFC3339.fullmatch(got) else f"no time: {got!r}"
        if key in VERSION_KEYS:
            return "" if str(got).startswith(f"{want}+bellcow.") else f"version {got!r}"
        want = world.our_text(want)
    elif key == "Port":
        want = int(world.ours(str(want)))
    same = want == got and type(want) is type(got)
    return "" if same else f"{got!r}, not {want!r}"


# Archives, and what can be wrong with one


def members(archive: bytes) -> dict[str, bytes]:
    """The files of a snapshot archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def sums(files: Mapping[str, bytes]) -> bytes:
    """SHA256SUMS of the files but itself."""
    lines = (
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in files.items()
        if name != "SHA256SUMS"
    )
    return "".join(lines).encode()


def tar(files: list[tuple[str, bytes]], *, closing_blocks: int = 2) -> bytes:
    """A tar with plain ustar headers, ending in as many zero blocks as asked for."""
    out = b""
    for name, data in files:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        out += info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    return out + bytes(512 * closing_blocks)


def pack(files: list[tuple[str, bytes]], *, closing_blocks: int = 2) -> bytes:
    return gzip.compress(tar(files, closing_blocks=closing_blocks), mtime=0)


def rehashed(archive: bytes, **changed: bytes) -> bytes:
    """The archive with files changed (`meta`, `state`) and right hashes."""
    files = members(archive)
    files["meta.json"] = changed.get("meta", files["meta.json"])
    files["state.bin"] = changed.get("state", files["state.bin"])
    files["SHA256SUMS"] = sums(files)
    return pack(list(files.items()))


def with_meta(archive: bytes, **changed: object) -> bytes:
    """The archive with keys of its meta.json changed."""
    meta = json.loads(members(archive)["meta.json"])
    return rehashed(archive, meta=json.dumps({**meta, **changed}).encode() + b"\n")


def replaced(archive: bytes, **changed: bytes | None) -> bytes:
    """The archive with files changed or, with None, left out; SHA256SUMS as it was."""
    files = dict(members(archive))
    for short, data in changed.items():
        name = {"meta": "meta.json", "state": "state.bin", "sums": "SHA256SUMS"}[short]
        if data is None:
            del files[name]
        else:
            files[name] = data
    return pack(list(files.items()))


def damaged_state(archive: bytes) -> bytes:
    """Right hashes over a state whose middle was overwritten, so that no reader can go on."""
    state = members(archive)["state.bin"]
    # At the beginning of a value: inside a text the damage may spell a key that nobody knows.
    middle = state.index(b"\xabModifyIndex", len(state) // 2)
    return rehashed(archive, state=state[:middle] + b"\xc1" * 8 + state[middle + 8 :])


def _padded(archive: bytes) -> bytes:
    plain = tar(list(members(archive).items()))
    return gzip.compress(plain + bytes(-len(plain) % 10240), mtime=0)


def _twice(archive: bytes) -> bytes:
    files = list(members(archive).items())
    return pack([files[0], *files])


def _opposite(archive: bytes) -> bytes:
    return pack(list(reversed(members(archive).items())))


# By the words of the recording, from a good archive of our own server.
VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "gzip of the 9 bytes 'not a tar'": lambda _: gzip.compress(b"not a tar"),
    "gzip of 2000 letters z": lambda _: gzip.compress(b"z" * 2000),
    "gzip of nothing": lambda _: gzip.compress(b""),
    "gzip of an empty tar": lambda _: pack([]),
    "good archive with an additional member extra.txt": lambda good: pack(
        [*members(good).items(), ("extra.txt", b"more")]
    ),
    "good archive with member names beginning ./": lambda good: pack(
        [(f"./{name}", data) for name, data in members(good).items()]
    ),
    "archive without SHA256SUMS": lambda good: replaced(good, sums=None),
    "archive without state.bin": lambda good: replaced(good, state=None),
    "archive without meta.json": lambda good: replaced(good, meta=None),
    "meta.json is not JSON, hashes right": lambda good: rehashed(good, meta=b"{bad"),
    "state.bin changed, hashes as before": lambda good: replaced(
        good, state=members(good)["state.bin"] + b"x"
    ),
    "meta.json changed, hashes as before": lambda good: replaced(
        good, meta=members(good)["meta.json"] + b" "
    ),
    "SHA256SUMS holds the word nonsense": lambda good: replaced(good, sums=b"nonsense\n"),
    "SHA256SUMS lists a further file other": lambda good: replaced(
        good, sums=members(good)["SHA256SUMS"] + b"\n" + b"0" * 64 + b"  other\n"
    ),
    "SHA256SUMS with only its first line": lambda good: replaced(
        good, sums=members(good)["SHA256SUMS"].splitlines(keepends=True)[0]
    ),
    "good archive cut in half": lambda good: good[: len(good) // 2],
    "good archive without its last 4 bytes": lambda good: good[:-4],
    "good tar, not gzipped": gzip.decompress,
    "meta.json with Version 7, hashes right": lambda good: with_meta(good, Version=7),
    "meta.json Size 5 too large, hashes right": lambda good: with_meta(
        good, Size=len(members(good)["state.bin"]) + 5
    ),
    "good archive": lambda good: good,
    "good archive taken earlier": lambda good: good,
    "good archive, sent chunked": lambda good: good,
    "archive taken before the token in use was created": lambda good: good,
    "good archive followed by the word trailing": lambda good: good + b"trailing",
    "all right, but the tar is padded with zero blocks to 10240 bytes as many tar writers do": (
        _padded
    ),
    "all right, but only one closing zero block of the tar": lambda good: pack(
        list(members(good).items()), closing_blocks=1
    ),
    "all right, but no closing zero blocks": lambda good: pack(
        list(members(good).items()), closing_blocks=0
    ),
    "good archive rebuilt by hand with plain ustar headers": lambda good: pack(
        list(members(good).items())
    ),
    "meta.json twice": _twice,
    "members in the opposite order, all right": _opposite,
    "good archive format and hashes, but 8 bytes in the middle of state.bin overwritten": (
        damaged_state
    ),
    "valid configuration with an extra key holding 3,000,000 letters x": lambda _: json.dumps(
        {"CleanupDeadServers": True, "Extra": "x" * 3_000_000}
    ).encode(),
}


def body_of(world: World, exchange: Exchange) -> bytes | None:
    """The body to send: as recorded with our names, or made anew from our newest archive."""
    if exchange.request_body_note:
        good = world.archives[-1] if world.archives else b""
        return VARIANTS[exchange.request_body_note](good)
    if exchange.request_body is None:
        return None
    return world.ours(exchange.request_body).encode()
