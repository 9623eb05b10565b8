"""Section E: snapshot archives. Every refusal word for word: tests/unit/snapshot."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import stat
import tarfile
import threading
import zlib
from typing import TYPE_CHECKING

import msgspec
from tests.abuse import archives
from tests.abuse.rows import left_out, row
from tests.abuse.rows_http import LEADER, SNAPSHOT
from tests.abuse.wire import in_parallel, request, reset

from bellcow.snapshot import archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.abuse.site import Site

PREFIX = "failed to restore from snapshot: "
BY_RAFT = f"{PREFIX}Raft error when restoring snapshot: "
REFUSED = {500}


def saved(site: Site) -> bytes:
    answer = site.get(SNAPSHOT)
    assert answer.status == 200, answer
    return answer.body


def refused(site: Site, archive: bytes, text: str = "", status: int = 500) -> None:
    """Refused with a text that begins so, with a length and in chunks."""
    for chunked in (False, True):
        answer = site.put(SNAPSHOT, archive, chunked=chunked)
        assert answer.status == status, (archive[:40], answer)
        assert answer.text.startswith(PREFIX + text), (archive[:40], answer)
        assert len(answer.text) < 1000


@row("E1", "an empty archive", faults=REFUSED)
def empty(site: Site) -> None:
    refused(site, b"", "failed to decompress snapshot: EOF")
    without = site.put(SNAPSHOT)
    assert without.text == f"{PREFIX}failed to decompress snapshot: EOF", without


@row("E2", "random bytes", faults=REFUSED)
def noise(site: Site) -> None:
    chance = random.Random(2)
    for size in (1, 9, 10, 11, 512, 100_000):
        answer = site.put(SNAPSHOT, chance.randbytes(size))
        assert answer.status == 500, answer
        assert answer.text.startswith(f"{PREFIX}failed to decompress snapshot: "), answer
    refused(site, b"x" * 1000, "failed to decompress snapshot: gzip: invalid header")
    refused(site, archives.tar(archives.unpack(saved(site))), "failed to decompress snapshot: ")


@row("E3", "an archive cut in half, and anywhere", faults=REFUSED)
def cut(site: Site) -> None:
    whole = saved(site)
    for size in {len(whole) * part // 20 for part in range(1, 20)} | {len(whole) - 1}:
        answer = site.put(SNAPSHOT, whole[:size])
        assert answer.status == 500, (size, answer)
        assert "unexpected EOF" in answer.text, (size, answer)


@row("E4", "one bit of the state flipped", faults=REFUSED)
def flipped(site: Site) -> None:
    members = archives.unpack(saved(site))
    for name in ("state.bin", "meta.json"):
        for place in (0, len(members[name]) // 2, len(members[name]) - 1):
            content = bytearray(members[name])
            content[place] ^= 1
            broken = archives.pack({**members, name: bytes(content)})
            answer = site.put(SNAPSHOT, broken)
            assert answer.status == 500, answer
            told = f'hash check failed for "{name}"', "failed to decode snapshot metadata"
            assert any(text in answer.text for text in told), answer


@row("E5", "without SHA256SUMS, or with others", faults=REFUSED)
def sums(site: Site) -> None:
    members = archives.unpack(saved(site))
    without = {name: members[name] for name in archives.NAMES[:2]}
    check = "failed to read snapshot file: failed checking integrity of snapshot: "
    refused(site, archives.pack(without), f'{check}file missing for "')
    for text in (
        b"",
        b"\n",
        b"x  meta.json\n",
        b"zz" * 32 + b"  state.bin\n",
        members["SHA256SUMS"].split(b"\n")[0],
        members["SHA256SUMS"].replace(b"state.bin", b"../state.bin"),
        members["SHA256SUMS"] * 20_000,
        b"\xff" * 1000,
    ):
        answer = site.put(SNAPSHOT, archives.pack({**members, "SHA256SUMS": text}))
        assert answer.status == 500, (text[:80], answer)


@row("E6", "members that are none of the three, or no files", local=True, faults=REFUSED)
def members_of_all_kinds(site: Site) -> None:
    good = archives.unpack(saved(site))
    for name in ("../../evil", "/tmp/evil", "./meta.json", "meta.json/", "state.bin\0", "a/b", ""):
        answer = site.put(SNAPSHOT, archives.pack(good, archives.member(name, b"evil")))
        assert answer.status == 500, (name, answer)
    refused(
        site,
        archives.pack(good, archives.member("../../evil", b"x")),
        'failed to read snapshot file: unexpected file "../../evil" in snapshot',
    )
    kinds = (
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.CONTTYPE,
    )
    rest = {name: content for name, content in good.items() if name != "state.bin"}
    for kind in kinds:
        for name, link in (("state.bin", "/etc/passwd"), ("evil", "../../evil")):
            head = archives.header(name, 0, kind, link)
            answer = site.put(SNAPSHOT, archives.pack(rest, head))
            assert answer.status == 500, (kind, name, answer)
    for size in (1 << 20, 40 << 20):
        answer = site.put(
            SNAPSHOT, archives.pack({}, _pax(b"path=" + b"a" * size) + archives.tar(good))
        )
        assert answer.status in {413, 500}, answer
    sizes = archives.header("state.bin", (8 << 30) - 1) + b"x" * 512
    assert site.put(SNAPSHOT, archives.pack({}, sizes)).status in {413, 500}


def _pax(record: bytes) -> bytes:
    text = b"%d %b\n" % (len(record) + 10, record)
    return archives.header("x", len(text), tarfile.XHDTYPE) + text + bytes(-len(text) % 512)


@row("E7", "a member twice", faults=REFUSED)
def doubles(site: Site) -> None:
    good = archives.unpack(saved(site))
    for name in archives.NAMES:
        for again in (good[name], b"other"):
            both = [*good.items(), (name, again)]
            answer = site.put(SNAPSHOT, archives.pack(both))
            assert answer.status == 500, (name, answer)
            assert site.put(SNAPSHOT, archives.pack(both[::-1])).status == 500


@row("E8", "bytes after the end", faults=REFUSED)
def junk_behind(site: Site) -> None:
    whole = saved(site)
    good = archives.unpack(whole)
    refused(site, whole + b"junk", "")
    refused(site, whole + gzip.compress(b"more"), "")
    refused(site, whole + whole, "")
    refused(site, gzip.compress(archives.tar(good) + b"junk" * 200), "")


@row("E9", "a gzip bomb of 300 MB", faults=REFUSED, limit_s=12)
def bomb(site: Site) -> None:
    zeros = bytes(1 << 20)
    for start in (
        b"",
        archives.header("state.bin", 300 << 20),
        archives.header("meta.json", 1 << 28),
    ):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        packed = packer.compress(start) + b"".join(packer.compress(zeros) for _ in range(300))
        answer = site.put(SNAPSHOT, packed + packer.flush())
        assert answer.status in {400, 413, 500}, answer


@row("E10", "meta.json that is wrong in every way", faults=REFUSED)
def metas(site: Site) -> None:
    whole = saved(site)
    for change, text in (
        ({"Version": 99}, f"{BY_RAFT}unsupported snapshot version 99"),
        ({"Size": 1}, f"{BY_RAFT}failed to write snapshot, size didn't match ("),
        ({"Index": 1 << 63}, ""),
        ({"Index": -1}, ""),
        ({"Index": "7"}, ""),
        ({"Index": 1e300}, ""),
        ({"Version": None}, ""),
        ({"Version": -1}, ""),
        ({"Configuration": []}, ""),
        ({"Configuration": {"Servers": [{"Suffrage": "x"}]}}, ""),
        ({"ID": 5}, ""),
    ):
        broken = archives.changed(whole, meta=_with(change))
        answer = site.put(SNAPSHOT, broken)
        assert answer.status in {400, 500}, (change, answer)
        assert answer.text.startswith(text or PREFIX), (change, answer)
    for raw in (
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"a":%b}' % (b"[" * 100_000),
        b"\xff",
        b" " * (2 << 20),
    ):
        answer = site.put(SNAPSHOT, archives.changed(whole, meta=lambda _, raw=raw: raw))
        assert answer.status in {400, 500}, (raw[:20], answer)


def _with(change: dict[str, object]) -> Callable[[bytes], bytes]:
    return lambda meta: json.dumps({**json.loads(meta), **change}).encode()


@row("E11", "right hashes around a state that is truncated or garbage", needs="acl", limit_s=20)
def broken_states(site: Site) -> None:
    # Nomad: such an archive ends its process. A state of other, sound values is no broken one.
    whole = saved(site)
    state = archives.unpack(whole)["state.bin"]
    chance = random.Random(11)
    ends = {len(state) * part // 12 for part in range(12)} | {len(state) - 1}
    states = [state[:size] for size in sorted(ends)]
    states += [chance.randbytes(500), b"\xc1" * 100, b"\x00" * 4096, b"\x83\xa5Index\x01" * 9]
    states += [state + b"\0", state + state, state[:200] + b"\xff\xff\xff\xff" + state[204:]]
    before = site.digest()
    for broken in states:
        size = len(broken)
        sealed = archives.seal(
            {**archives.unpack(whole), "state.bin": broken}
            | {"meta.json": _with({"Size": size})(archives.unpack(whole)["meta.json"])}
        )
        answer = site.put(SNAPSHOT, archives.pack(sealed))
        assert (answer.status, answer.text[: len(BY_RAFT)]) == (400, BY_RAFT), (size, answer)
    assert site.digest() == before


@row("E11-rows", "right hashes around a state of rows that the API would refuse", needs="acl")
def odd_rows(site: Site) -> None:
    deep = b"\x81\xa3new" + b"\x91" * 100_000 + b"\xc0"
    settings = ("autopilot_configuration", "-")
    before = site.digest()
    for table, row_id, value in (
        (*settings, msgspec.msgpack.encode({"LastContactThreshold": []})),
        (*settings, msgspec.msgpack.encode({"LastContactThreshold": "-5s"})),
        (*settings, msgspec.msgpack.encode({"MinQuorum": -3})),
        (*settings, msgspec.msgpack.encode({"ModifyIndex": 2**64 - 1})),
        (*settings, deep),
        ("scheduler_configuration", "-", msgspec.msgpack.encode({"SchedulerAlgorithm": "\x1b[3"})),
        ("namespaces", "<script>", msgspec.msgpack.encode({"Name": "<script>"})),
        ("namespaces", "other", msgspec.msgpack.encode({"Name": "default"})),
    ):
        answer = site.put(SNAPSHOT, _holding((table, row_id, value)))
        named = f'{BY_RAFT}{table} "{row_id}": '
        assert (answer.status, answer.text[: len(named)]) == (400, named), answer
    far = site.put(SNAPSHOT, _holding(index=1 << 62))
    assert (far.status, far.text[: len(BY_RAFT)]) == (400, BY_RAFT), far
    assert site.digest() == before
    assert site.get("/v1/operator/autopilot/health").status == 200
    assert saved(site)


def _holding(*records: archive.Record, index: int = 9) -> bytes:
    out = io.BytesIO()
    archive.write(out, archive.Origin(index=index, term=1, wall_ns=0), records, io.BytesIO())
    return out.getvalue()


left_out("E12", "an archive with types nobody knows: tests/unit/snapshot/archive/test_reader.py")
left_out("E13", "nothing runs jobs yet, so no cluster has any to protect")


@row("E14", "an upload that ends at each of 20 points", faults=REFUSED, limit_s=20)
def aborted(site: Site) -> None:
    whole = saved(site)
    raw = request("PUT", SNAPSHOT, body=whole, close=False)
    chunked = request("PUT", SNAPSHOT, body=whole, chunked=True, close=False)
    for sent in (raw, chunked):
        for part in range(1, 20):
            with site.connected() as sock:
                sock.sendall(sent[: len(sent) * part // 20])
                if part % 2:
                    reset(sock)
    # Nobody is left behind who holds the place of the one restore at a time.
    site.until(lambda: not _busy(site), "a restore that is no more is still in progress")


left_out("E14-killed", "SIGKILL and a full disk in the middle of a restore: tests/cluster")


def _busy(site: Site) -> bool:
    """Whether another restore is in progress; asks with an archive that is refused."""
    return site.ask("PUT", SNAPSHOT, b"x" * 20, patience_s=5).status == 409


@row(
    "E15",
    "two restores at once, and a save beside one",
    needs="acl",
    writes=True,
    faults=REFUSED,
    limit_s=20,
)
def two_restores(site: Site) -> None:
    whole = saved(site)
    token = {"X-Nomad-Token": site.token}
    raw = request("PUT", SNAPSHOT, token, body=whole, close=False)
    with site.connected() as sock:
        sock.sendall(raw[:-100])
        site.until(lambda: _busy(site), "the second restore is let in")
        assert site.get(SNAPSHOT).status == 200
        assert site.put("/v1/namespace/e15", {"Name": "e15"}).status == 200
        sock.sendall(raw[-100:])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    # The restore is of a state without it.
    assert site.get("/v1/namespace/e15").status == 404
    answers = in_parallel(8, functools.partial(site.put, SNAPSHOT, whole))
    assert {answer.status for answer in answers} <= {200, 409}
    assert 200 in {answer.status for answer in answers}
    answers = _writes_during_restore(site, whole)
    assert set(answers) <= {200, 500}, answers
    site.ask("DELETE", "/v1/namespace/e15")


def _writes_during_restore(site: Site, whole: bytes) -> list[int]:
    """Statuses of writes while a restore runs."""
    found: list[int] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            found.append(site.put("/v1/namespace/e15", {"Name": "e15"}).status)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(3):
        assert site.put(SNAPSHOT, whole).status == 200
    done.set()
    thread.join()
    return found


left_out("E16", "needs several servers: test_three_servers.py")


@row("E17", "50 saves at once", needs="acl", limit_s=20)
def many_saves(site: Site) -> None:
    answers = in_parallel(50, functools.partial(site.get, SNAPSHOT))
    statuses = {answer.status for answer in answers}
    assert statuses <= {200, 429}, statuses
    assert site.get(LEADER).status == 200
    for answer in answers:
        if answer.status == 200:
            assert archives.unpack(answer.body)["state.bin"]


@row(
    "E18",
    "archives that the server keeps are their owner's alone",
    needs="acl",
    local=True,
    writes=True,
)
def kept_files(site: Site) -> None:
    assert site.put(SNAPSHOT, saved(site)).status == 200
    assert site.agent is not None
    kept = list(site.agent.data_dir.rglob("before-restore-*"))
    assert kept
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path.parent


@row("E19", "an archive sent as a form", faults=REFUSED)
def as_form(site: Site) -> None:
    boundary = b"--x\r\nContent-Disposition: form-data; name=f; filename=s\r\n\r\n%b\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.put(SNAPSHOT, boundary % saved(site), headers=headers)
    assert answer.status == 500, answer
    assert "--data-binary" in answer.text, answer


@row(
    "E19-newlines",
    "an archive out of which the sender took what no text has",
    faults=REFUSED,
)
def as_text(site: Site) -> None:
    # As curl -d @FILE sends it: without line ends and zeros.
    members = archives.unpack(saved(site))
    whole = archives.pack({**members, "state.bin": members["state.bin"] + b"\n\r\0" * 500})
    mangled = whole.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.put(SNAPSHOT, mangled, headers=headers)
    assert answer.status == 500, answer
    assert "--data-binary" in answer.text, answer
