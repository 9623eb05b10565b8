"""Download of a snapshot: checked against its digest, complete on disk before it is renamed,
private.

Used by `operator snapshot save` and `operator snapshot agent`.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, BinaryIO

from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.files import replacing
from bellcow.cli.shell.progress import counted
from bellcow.cli.shell.session import if_stale
from bellcow.gocompat.duration import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bellcow.cli.shell.client import Answer, Client
    from bellcow.snapshot.archive import Info

_SNAPSHOT = "/v1/operator/snapshot"
_DIGEST = "sha-256="


def default_name(wall_ns: int) -> str:
    """`nomad-state-20261123-1795442432.snap`. Nomad leaves the day unpadded; padded names sort."""
    import time

    seconds = wall_ns // NS_PER_S
    return f"nomad-state-{time.strftime('%Y%m%d', time.gmtime(seconds))}-{seconds}.snap"


def fetch(client: Client, *, stale: bool) -> Answer:
    """Request a snapshot; the body is not read yet."""
    with failing("Failed to get snapshot file: "):
        return client.request("GET", _SNAPSHOT, query=if_stale(stale=stale))


def checked(answer: Answer) -> Iterator[bytes]:
    """The bytes of the archive.

    Raises:
        CommandError: the connection broke, or, after the last byte, the digest is wrong.
    """
    wanted = answer.headers.get("Digest", "")
    digest = hashlib.sha256()
    with failing("Failed to download snapshot file: "):
        for chunk in answer.chunks():
            digest.update(chunk)
            yield chunk
    found = base64.b64encode(digest.digest()).decode()
    if wanted != f"{_DIGEST}{found}":
        raise CommandError(
            "Failed to download snapshot file: its checksum differs from the server's; try again"
        )


def save(client: Client, path: Path, *, stale: bool) -> Info:
    """Write a snapshot to `path`, or nothing on an error. Returns its content."""
    from bellcow.snapshot import archive

    with replacing(path) as file:
        receive(client, file, path.name, stale=stale)
        with failing("Failed to verify snapshot file: "):
            return archive.inspect(file)


def receive(client: Client, file: BinaryIO, name: str, *, stale: bool) -> None:
    """Fetch a snapshot into `file`; progress shows `name`."""
    file.writelines(counted(checked(fetch(client, stale=stale)), f"Saving {name}"))
