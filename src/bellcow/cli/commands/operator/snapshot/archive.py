"""`operator snapshot`: save, restore and inspect archives of the state."""

from __future__ import annotations

import os
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import Takes, one
from bellcow.cli.shell.errors import CommandError, RequestError, failing, opening
from bellcow.cli.shell.files import replacing
from bellcow.cli.shell.flags import switch
from bellcow.cli.shell.output import age, note, pairs, say, show, size, table, write_bytes
from bellcow.cli.shell.session import Session, as_data, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.cli.shell.client import Client
    from bellcow.snapshot.archive import Info

_CHUNK = 256 * 1024
_BEGINNING = b"\x1f\x8b\x08"  # the first bytes of every gzip file: RFC 1952
_NEEDS_FILE = one("filename")
_NOT_SENT = "\nNothing was sent to the server."
_FOREIGN = (
    "bellcow did not write the state in it: its checksums are right, but it cannot be restored here"
)
_REDACTED = (
    "A redacted file holds neither ACL tokens, nor the mark that the ACL bootstrap was done, nor "
    "the license. A cluster that it is restored to has to be bootstrapped again."
)


@command(
    "Saves the state of the cluster to a new file.\n\n"
    "The file holds secrets: only its owner may read it. With - the archive goes to standard "
    "output. Needs a management token or the capability snapshot-save.\n\n"
    f"{_REDACTED}",
    takes=Takes(
        0, 1, "This command takes either no arguments or one: <filename>", "[<filename>|-]"
    ),
)
@switch("stale", "Let the server that is asked save what it knows, leader or not.")
@switch("redact", "Leave secrets out of the file.", into="redacted")
def save(session: Session, *, stale: bool, redacted: bool, words: tuple[str, ...]) -> None:
    from bellcow.cli.commands.operator.snapshot import download
    from bellcow.clock import SystemClock

    if words == ("-",):
        for chunk in _to_pipe(session, stale=stale, redacted=redacted):
            write_bytes(chunk)
        return
    name = words[0] if words else download.default_name(SystemClock().wall_ns())
    path = Path(name)
    if os.path.lexists(name):
        raise session.misuse(
            f'Destination file already exists: "{name}"\nChoose another name, or remove the file.'
        )
    left_out = ""
    if redacted:
        info, left_out = _save_redacted(session.client, path, stale=stale)
    else:
        info = download.save(session.client, path, stale=stale)
    say(f"State file written to {name}")
    say(f"It holds index {info.index} of term {info.term}, {size(path.stat().st_size)}")
    if left_out:
        say(left_out)


def _to_pipe(session: Session, *, stale: bool, redacted: bool) -> Iterator[bytes]:
    from bellcow.cli.commands.operator.snapshot import download

    if not redacted:
        yield from download.checked(download.fetch(session.client, stale=stale))
        return
    with tempfile.TemporaryFile() as whole, tempfile.TemporaryFile() as out:
        download.receive(session.client, whole, "snapshot", stale=stale)
        note(_redact(whole, out))
        out.seek(0)
        yield from _chunks(out)


def _save_redacted(client: Client, path: Path, *, stale: bool) -> tuple[Info, str]:
    from bellcow.cli.commands.operator.snapshot import download
    from bellcow.snapshot import archive

    with replacing(path) as file, tempfile.TemporaryFile(dir=path.parent) as whole:
        download.receive(client, whole, path.name, stale=stale)
        left_out = _redact(whole, file)
        return archive.inspect(file), left_out


def _redact(source: BinaryIO, out: BinaryIO) -> str:
    """Write a redacted archive. Returns what was left out, in words."""
    from bellcow.cli.commands.operator.snapshot import redaction

    return f"Left out: {redaction.told(redaction.redact(source, out))}"


@flags.command(
    f"Takes the secrets out of a snapshot file, in place, without a server.\n\n{_REDACTED}",
    takes=_NEEDS_FILE,
)
def redact(*, words: tuple[str, ...]) -> None:
    try:
        path = Path(words[0]).resolve(strict=True)  # for a link, its target
        source = path.open("rb")  # closed by the block that follows
    except OSError as error:
        raise CommandError(f"Error opening snapshot file: {opening(error, words[0])}") from error
    with source, replacing(path) as out:
        left_out = _redact(source, out)
    say("Snapshot redacted")
    say(left_out)


@command(
    "Replaces the state of the cluster by that of a snapshot file.\n\n"
    "The file is checked before anything is sent. The list of servers does not change; everything "
    "else does, tokens included. Needs a management token.",
    takes=_NEEDS_FILE,
)
@switch("yes", "Do not ask.")
@switch("force", "Restore even over another cluster's jobs.")
def restore(session: Session, *, yes: bool, force: bool, words: tuple[str, ...]) -> None:
    from bellcow.cli.shell.progress import counted

    name = words[0]
    try:
        file = Path(name).open("rb")  # noqa: SIM115  closed by the block that follows
    except OSError as error:
        text = f'"{opening(error, name)}"'
        raise CommandError(f"Error opening snapshot file: {text}") from error
    with file:
        info = _checked(file, more=_NOT_SENT)
        if not info.writer:
            raise CommandError(f"Error verifying snapshot: {_FOREIGN}{_NOT_SENT}")
        _confirm(info, session.client, yes=yes, force=force)
        total = os.fstat(file.fileno()).st_size
        file.seek(0)
        with failing("Failed to get restore snapshot: "):
            answer = session.client.request(
                "PUT",
                "/v1/operator/snapshot",
                query={"force": "true"} if force else {},
                body=counted(_chunks(file), f"Restoring {name}", total),
                headers={"Content-Length": str(total), "Content-Type": "application/x-gzip"},
            )
            answer.body()
    say("Snapshot Restored")
    if session.settings.token:
        say(
            "The tokens are now those of the snapshot: use one that existed when it was saved."
            if _holds_tokens(info)
            else f"The snapshot held no tokens: make one with '{session.program} acl bootstrap'."
        )
    if kept := answer.headers.get("X-Bellcow-Kept", ""):
        where = answer.headers.get("X-Bellcow-Kept-On", "the server")
        say(f"The state before it is kept on {where}, in server/snapshots/{kept} of its data_dir")


def _holds_tokens(info: Info) -> bool:
    return any(table == "acl_tokens" for table, _, _ in info.stats)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _checked(file: BinaryIO, *, rows: bool = False, more: str = "") -> Info:
    """The content of the archive.

    A server may be newer than this program: without `rows`, the rows are left to the server.

    Raises:
        CommandError: the archive is bad or, with `rows`, one of its rows.
    """
    from bellcow.errors import Error
    from bellcow.snapshot import archive, verify

    try:
        return archive.inspect(file, verify.for_archive if rows else None)
    except Error as error:
        text = f"Error verifying snapshot: {error.message}{more}"
        raise CommandError(text, hint=_why_none(file)) from error


def _why_none(file: BinaryIO) -> str:
    """The hint for a file that is no snapshot; "" if it begins like one."""
    file.seek(0)
    start = file.read(len(_BEGINNING))
    if start == _BEGINNING:
        return ""
    what = "does not begin as an archive does" if start else "is empty"
    return f"This is no snapshot: {file.name} {what}."


def _confirm(info: Info, client: Client, *, yes: bool, force: bool) -> None:
    """On a terminal, ask. Without one, go on, but refuse `-force` without `-yes`.

    Raises:
        CommandError: the answer is not yes, or `-yes` is missing without a terminal.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if force:
            raise CommandError("without a terminal, -force needs -yes")
        return
    from bellcow.clock import SystemClock

    objects = sum(count for _, count, _ in info.stats)
    note(f"This replaces the state of the cluster at {client.address}")
    ago = (
        age(SystemClock().wall_ns() - info.created_ns) if info.created_ns else "at an unknown time"
    )
    note(f"by {objects} objects of index {info.index}, saved {ago}.")
    here, has_acls = _there(client)
    if here and info.cluster_id != here:
        note(f"It is of another cluster, {_cluster(info)}; this one is {here}.")
    if has_acls and not _holds_tokens(info):
        note("It holds no ACL tokens: all present tokens will be lost.")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("Nothing was changed.")


def _there(client: Client) -> tuple[str, bool]:
    """The id of the server's cluster, "" if it cannot be read, and whether ACLs are on."""
    try:
        told = client.get("/v1/agent/self")
    except RequestError as error:
        return "", error.status == HTTPStatus.FORBIDDEN
    has_acls = told.get("config", {}).get("ACL", {}).get("Enabled", False)
    return str(told["stats"].get("cluster", {}).get("id", "")), bool(has_acls)


def _cluster(info: Info) -> str:
    return f"{info.cluster_id or 'which it does not name'} of region {info.region}"


@flags.command(
    "Shows what a snapshot file holds, without a server: its cluster, its index, and objects by "
    "kind. Ends with 1 when it cannot be restored.",
    takes=_NEEDS_FILE,
)
@as_data
def inspect(*, as_json: bool, template: str, words: tuple[str, ...]) -> None:
    try:
        with Path(words[0]).open("rb") as file:
            info = _checked(file, rows=True)
    except OSError as error:
        raise CommandError(f"Error opening snapshot file: {opening(error, words[0])}") from error
    show(_data(info), lambda: _text(info), as_json=as_json, template=template)
    if not info.writer:
        raise CommandError(f"Error verifying snapshot: {_FOREIGN}")


def _created(info: Info) -> str:
    from bellcow.gocompat.time import rfc3339

    return rfc3339(info.created_ns) if info.created_ns else ""


def _data(info: Info) -> dict[str, Any]:
    return {
        "Meta": {
            "ID": info.id,
            "Size": info.size,
            "Index": info.index,
            "Term": info.term,
            "Version": info.version,
            "Created": _created(info),
            "ClusterID": info.cluster_id,
            "Region": info.region,
            "Writer": info.writer,
        },
        "Stats": [
            {"Name": kind, "Count": count, "Size": taken} for kind, count, taken in info.stats
        ],
        "Largest": [
            {"Type": kind, "Name": name, "Size": taken} for kind, name, taken in info.largest
        ],
    }


def _text(info: Info) -> str:
    facts = pairs(
        [
            ("ID", info.id),
            ("Size", size(info.size)),
            ("Index", info.index),
            ("Term", info.term),
            ("Version", info.version),
            ("Created", _created(info)),
            ("Cluster", info.cluster_id),
            ("Region", info.region),
            ("Writer", f"bellcow {info.writer}" if info.writer else ""),
        ]
    )
    rows = [[kind, str(count), size(taken)] for kind, count, taken in info.stats]
    total = sum(taken for _, _, taken in info.stats)
    counts = table([["Type", "Count", "Size"], *rows, ["", "", ""], ["Total", "", size(total)]])
    largest = table(
        [["Largest", "Name", "Size"], *([kind, name, size(n)] for kind, name, n in info.largest)]
    )
    return "\n\n".join([facts, counts, *([largest] if info.largest else [])])
