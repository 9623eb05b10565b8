from __future__ import annotations

import asyncio
import fcntl
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.clock import SystemClock
from bellcow.cluster.recovery.peers_json import Listed, parse
from bellcow.model.agent import ClusterIdentity
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.sqlite import open_store
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = [f"{number}a03af6e-0000-4000-8000-000000000001" for number in range(3)]
SERVERS = tuple(
    RaftServer(id=i, address=f"10.0.0.{n}:4647", name=f"s{n}.global", voter=n < 2)
    for n, i in enumerate(IDS)
)
HEAD = Head(index=12, commit="c", ops=2, gen=1, gens=1, epoch=3, time_ns=1_000_000_000)
TABLE = "".join(
    f"s{n}.global  {i}  10.0.0.{n}:4647  {'true' if n < 2 else 'false'}\n"
    for n, i in enumerate(IDS)
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A stopped server without a vote, the second of three."""

    async def go() -> None:
        store = await open_store(tmp_path / "data/server/store.db", SystemClock())
        identity = ClusterIdentity(cluster_id="us", create_time="then", region="global")
        objects = {
            ("raft_configuration", "-"): to_msgpack(RaftConfiguration(servers=SERVERS)),
            ("cluster", "-"): to_msgpack(identity),
        }
        await store.commit(NO_HEAD, HEAD, objects)
        await store.close()

    asyncio.run(go())
    server_dir = tmp_path / "data/server"
    for path in server_dir.glob("store.db*"):
        path.rename(server_dir / path.name.replace("store", "follow"))
    (server_dir / "node-id").write_text(IDS[2])
    (server_dir / "lock").write_text("")
    return tmp_path / "data"


def file_of(data_dir: Path) -> Path:
    return data_dir / "server/raft/peers.json"


@pytest.mark.parametrize("inside", [".", "server"])
def test_without_servers_the_state_is_shown_and_nothing_is_written(
    cli: Callable[..., Any], data_dir: Path, inside: str
) -> None:
    before = sorted(data_dir.rglob("*"))
    result = cli("operator", "raft", "recover", str(data_dir / inside))
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[:5] == [
        f"Server      = {IDS[2]}",
        "Role        = non-voter",
        "Cluster     = us",
        "Epoch       = 3",
        "Index       = 12",
    ]
    assert lines[5].startswith("Last commit = 1970-01-01T00:00:01Z, ")
    assert lines[6] == f"Copy        = {data_dir}/server/follow.db"
    assert result.out.endswith(TABLE + "\n")
    assert result.err.startswith("Nothing was changed. Run this on every server that is left")
    assert sorted(data_dir.rglob("*")) == before


@pytest.mark.parametrize(
    "named",
    [
        "10.0.0.1:4647,10.0.0.2:4647",
        "s1,s2",
        "s1.global, s2.global",
        f"{IDS[1]},{IDS[2]}",
        "10.0.0.1:4647,s2,",
    ],
    ids=["addresses", "names", "with region", "ids", "mixed"],
)
def test_file_is_written_with_the_servers_however_they_are_named(
    cli: Callable[..., Any], data_dir: Path, named: str
) -> None:
    result = cli("operator", "raft", "recover", "-yes", f"-servers={named}", str(data_dir))
    assert (result.status, result.err) == (0, "")
    path = file_of(data_dir)
    assert f"Wrote {path}\n" in result.out
    assert parse(path.read_bytes()) == (
        Listed("10.0.0.1:4647", IDS[1]),
        Listed("10.0.0.2:4647", IDS[2]),
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["peers.json"]


def test_address_that_is_not_known_makes_it_the_form_of_addresses(
    cli: Callable[..., Any], data_dir: Path
) -> None:
    cli("operator", "raft", "recover", "-yes", "-servers=s2,New:1", str(data_dir))
    assert msgspec.json.decode(file_of(data_dir).read_bytes()) == ["10.0.0.2:4647", "new:1"]


def test_server_that_moved_is_named_by_its_id_and_its_new_address(
    cli: Callable[..., Any], data_dir: Path
) -> None:
    words = f"-servers=s1,{IDS[2]}@10.9.9.9:4647"
    result = cli("operator", "raft", "recover", "-yes", words, str(data_dir))
    assert (result.status, result.err) == (0, "")
    assert parse(file_of(data_dir).read_bytes()) == (
        Listed("10.0.0.1:4647", IDS[1]),
        Listed("10.9.9.9:4647", IDS[2]),
    )


def test_an_existing_file_is_renamed(cli: Callable[..., Any], data_dir: Path) -> None:
    file_of(data_dir).parent.mkdir()
    file_of(data_dir).write_text("by hand")
    result = cli("operator", "raft", "recover", "-yes", "-servers=s2", str(data_dir))
    (kept,) = file_of(data_dir).parent.glob("peers.json.old-*")
    assert kept.read_text() == "by hand"
    assert f"The one before is {kept}\n" in result.out
    assert len(parse(file_of(data_dir).read_bytes())) == 1


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("s1", f"this server, {IDS[2]}, is not among them"),
        ("10.9.9.9:4647", f"this server, {IDS[2]}, is not among them; if its address has changed"),
        ("", "no servers in configuration"),
        ("s2,s9", '"s9" is not an address: it must be host:port; the names are those listed above'),
        ("s2,10.0.0.2:4647", "entry 2: found duplicate address in configuration: 10.0.0.2:4647"),
    ],
)
def test_wrong_servers_are_refused(
    cli: Callable[..., Any], data_dir: Path, named: str, said: str
) -> None:
    result = cli("operator", "raft", "recover", "-yes", f"-servers={named}", str(data_dir))
    assert result.status == 1
    assert result.err.startswith(f"Error in -servers: {said}")
    assert not file_of(data_dir).parent.exists()


class Terminal:
    """Somebody who gives this answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answer


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("\n", False), ("", False)])
def test_on_a_terminal_the_user_is_asked(
    cli: Callable[..., Any],
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    written: bool,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    result = cli("operator", "raft", "recover", "-servers=s2", str(data_dir))
    assert "  10.0.0.2:4647  s2.global\n" in result.err
    assert "must stay down" in result.err
    assert file_of(data_dir).exists() == written
    assert result.status == (0 if written else 1)


def test_without_a_terminal_yes_is_required(cli: Callable[..., Any], data_dir: Path) -> None:
    result = cli("operator", "raft", "recover", "-servers=s2", str(data_dir), stdin=b"y\n")
    assert result.status == 1
    assert result.err == "Nothing was written: without a terminal, -yes is needed\n"
    assert not file_of(data_dir).exists()


def test_server_that_runs_is_left_alone(cli: Callable[..., Any], data_dir: Path) -> None:
    with (data_dir / "server/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        result = cli("operator", "raft", "recover", "-yes", "-servers=s2", str(data_dir))
    assert (result.status, result.out) == (1, "")
    assert result.err == f"The server in {data_dir}/server runs, as process 4711: stop it first\n"


def test_a_server_without_any_state_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "node-id").write_text("x\n")
    result = cli("operator", "raft", "recover", str(tmp_path))
    assert result.status == 0
    assert result.out == "Server = x\nRole   = none: it has no copy of the state\n"


def test_recovery_that_was_cut_short_is_finished_by_a_start(
    cli: Callable[..., Any], data_dir: Path
) -> None:
    (data_dir / "server/raft.new").mkdir()
    (data_dir / "server/raft.new/complete").touch()
    result = cli("operator", "raft", "recover", str(data_dir))
    assert result.err.startswith("This server was stopped while it rebuilt its cluster")


def test_damaged_copy_is_refused(cli: Callable[..., Any], data_dir: Path) -> None:
    path = data_dir / "server/follow.db"
    path.write_bytes(b"no database" * 1_000)
    result = cli("operator", "raft", "recover", str(data_dir))
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"Error reading the server's copy: {path} is damaged")


def test_directory_of_no_server_is_named(cli: Callable[..., Any], tmp_path: Path) -> None:
    result = cli("operator", "raft", "recover", str(tmp_path))
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"No server has kept data in {tmp_path}: give the data_dir")
