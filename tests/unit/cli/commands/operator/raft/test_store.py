from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.clock import SystemClock
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.sqlite import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = Head(
    index=12, floor=7, commit="c2", prev="c1", ops=2, gen=1, gens=1, leader="s1", term=3, time_ns=10
)
TOKEN = {"AccessorID": "a", "SecretID": "hush"}
OBJECTS = {
    ("acl_tokens", "a"): msgspec.msgpack.encode(TOKEN),
    ("namespaces", "web"): msgspec.msgpack.encode({"Name": "web"}),
}
NO_LOG = "This store keeps no log: it holds the state itself, and of its commits only the last.\n"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    async def go() -> None:
        store = await open_store(tmp_path / "data/server/store.db", SystemClock())
        first = Head(index=11, floor=7, commit="c1", ops=0, gen=1, gens=1)
        await store.commit(NO_HEAD, first, {})
        await store.commit(first, HEAD, OBJECTS)
        await store.close()

    asyncio.run(go())
    return tmp_path / "data"


@pytest.mark.parametrize("inside", [".", "server", "server/store.db"])
@pytest.mark.parametrize("name", ["info", "_info"])
def test_the_store_is_found_from_each_place_above_it(
    cli: Callable[..., Any], data_dir: Path, inside: str, name: str
) -> None:
    result = cli("operator", "raft", name, str(data_dir / inside))
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        f"path:        {data_dir}/server/store.db\n"
        "length:      2\n"
        "first index: 7\n"
        "last index:  12\n"
    )


def test_copy_of_a_server_without_a_vote_is_read(cli: Callable[..., Any], data_dir: Path) -> None:
    server_dir = data_dir / "server"
    for path in server_dir.glob("store.db*"):
        path.rename(server_dir / path.name.replace("store", "follow"))
    result = cli("operator", "raft", "info", str(data_dir))
    assert result.out.startswith(f"path:        {server_dir}/follow.db\nlength:      2\n")


@pytest.mark.parametrize("name", ["logs", "_logs"])
def test_of_all_commits_the_last_is_known(
    cli: Callable[..., Any], data_dir: Path, name: str
) -> None:
    result = cli("operator", "raft", name, str(data_dir))
    assert (result.status, result.err) == (0, NO_LOG)
    (line,) = result.out.splitlines()
    shown = msgspec.json.decode(line)
    assert (shown["Index"], shown["Term"], shown["Previous"]) == (12, 3, "c1")
    assert shown["Time"] == "1970-01-01T00:00:00.00000001Z"
    pretty = cli("operator", "raft", name, "-pretty", str(data_dir)).out
    assert pretty.startswith('{\n  "Index": 12,\n')


def test_a_store_that_was_never_written_has_no_commit(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    async def go() -> None:
        await (await open_store(tmp_path / "store.db", SystemClock())).close()

    asyncio.run(go())
    result = cli("operator", "raft", "logs", str(tmp_path))
    assert (result.status, result.out, result.err) == (0, "", NO_LOG)
    assert cli("operator", "raft", "info", str(tmp_path)).out.endswith(
        "length:      0\nfirst index: 0\nlast index:  0\n"
    )


@pytest.mark.parametrize("name", ["state", "_state"])
def test_the_state_is_printed_without_its_secrets(
    cli: Callable[..., Any], data_dir: Path, name: str
) -> None:
    out = cli("operator", "raft", name, str(data_dir)).out
    assert "hush" not in out
    shown = msgspec.json.decode(out)
    assert shown["namespaces"] == [{"Name": "web"}]
    assert shown["Head"]["Index"] == 12
    secrets = msgspec.json.decode(cli("operator", "raft", name, "-secrets", str(data_dir)).out)
    assert secrets["acl_tokens"] == [TOKEN]


@pytest.mark.parametrize(("index", "status"), [("0", 0), ("12", 0), ("11", 1), ("-1", 1)])
def test_only_the_present_index_can_be_had(
    cli: Callable[..., Any], data_dir: Path, index: str, status: int
) -> None:
    result = cli("operator", "raft", "state", f"-last-index={index}", str(data_dir))
    assert result.status == status
    assert ("-last-index can only be 12" in result.err) == bool(status)


def test_an_index_that_is_no_number_is_refused(cli: Callable[..., Any]) -> None:
    assert cli("operator", "raft", "state", "-last-index=x", ".").err.startswith(
        'invalid value "x" for flag -last-index: parse error\n'
    )


@pytest.mark.parametrize("name", ["info", "_info", "logs", "_logs", "state", "_state"])
def test_a_place_without_a_store_is_named(
    cli: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    result = cli("operator", "raft", name, str(tmp_path))
    assert (result.status, result.out) == (1, "")
    assert result.err == f"File raft.db not found in path {tmp_path}\n"
    assert cli("operator", "raft", name).err.startswith("This command takes one argument: <path>\n")


def test_a_store_that_is_none_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database" * 100)
    result = cli("operator", "raft", "info", str(tmp_path))
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(
        f"Error reading the store: {tmp_path}/store.db is damaged, or was "
    )


def test_a_path_that_cannot_be_looked_at_is_refused(cli: Callable[..., Any]) -> None:
    path = "x" * 300
    result = cli("operator", "raft", "info", path)
    assert result.err == f"Error opening the store: open {path}: file name too long\n"


def test_the_old_names_are_not_listed(cli: Callable[..., Any]) -> None:
    out = cli("operator", "raft", "-help").out
    assert "    info " in out
    assert "_info" not in out
