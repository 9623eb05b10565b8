"""The commands of the pages on several servers and on upgrades, run as they stand there."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.harness import BELLCOW
from tests.routes.machines import Machines, blocks, commands, section
from tests.support.etcd import needs_etcd, short_directory

from bellcow.etcd.version import CannotRun, judge
from bellcow.events import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs/operations"
README = (ROOT / "README.md").read_text("utf-8")
CLUSTER = (OPERATIONS / "cluster.md").read_text("utf-8")
UPGRADE = (OPERATIONS / "upgrade.md").read_text("utf-8")
FIRST = ("s1", "s2", "s3")
SOON = {"autopilot": {"server_stabilization_time": "1s"}}
HEALTH = "bellcow operator autopilot health"
MAY_GO_ON = f"until sleep 5; {HEALTH} -tolerates=1 >/dev/null; do :; done"


@pytest.fixture
def machines() -> Iterator[Machines]:
    with short_directory() as directory:  # the path of a socket may not be long
        made = Machines(directory.parent)
        yield made
        made.end()


def voters(machines: Machines, name: str = "s1") -> set[str]:
    return {each for each, (_, votes) in machines.peers(name).items() if votes}


def begin(machines: Machines) -> None:
    """Three servers, as the first part of the page has it."""
    text = section(CLUSTER, "Three servers from nothing")
    (file,) = blocks(text)
    make_key, validate, address, acl, _, peers, members, health = commands(text)
    machines.must(make_key)
    for name in FIRST:
        machines.furnish(name, file, **SOON)
        assert machines.must(validate, name) == "Configuration is valid!\n"
        machines.start(name)
    machines.bootstrap(acl)
    for name in FIRST:
        machines.until(lambda n=name: voters(machines, n) == {*FIRST}, "three voters")
    assert "leader" in machines.must(f"{address}\n{peers}")
    machines.until(lambda: machines.must(members).count("alive") == len(FIRST), "three members")
    machines.until_it_ends_well(health)
    if machines.leader() != "s1":
        machines.must("bellcow operator raft transfer-leadership -peer-name=s1")
    machines.until(lambda: machines.leader() == "s1", "s1 leads")


@pytest.mark.slow
@needs_etcd
def test_the_start_of_three_servers_in_the_readme(machines: Machines) -> None:
    (text,) = re.findall(r"```\n(apt-get .*?)```", README, re.DOTALL)
    assert len(text.splitlines()) <= 5
    _, start, address, peers = text.replace("\\\n", "").splitlines()
    (generate,) = re.findall(r"`(bellcow operator [a-z ]*generate)` makes a key", README)
    start = start.replace("$KEY", machines.must(generate).strip())
    for name in FIRST:
        machines.furnish(name, "")
        own = start.replace("-bind=10.0.0.1 -node=s1", f"-bind=10.0.0.{name[1:]} -node={name}")
        machines.start(name, *machines.here(own, name).split()[2:])
    for name in FIRST:
        machines.until(lambda n=name: voters(machines, n) == {*FIRST}, "three voters")
    assert machines.must(f"{address}\n{peers}").count("true") == len(FIRST)


@pytest.mark.slow
@needs_etcd
def test_three_servers_get_a_fourth_that_leaves_again(machines: Machines) -> None:
    begin(machines)
    text = section(CLUSTER, "Add a server")
    (file,) = blocks(text)
    machines.furnish("s4", file, **SOON)
    machines.start("s4")
    (peers,) = commands(text)
    machines.until(lambda: "s4" in machines.must(peers), "s4 is in")
    machines.until(lambda: voters(machines) == {*FIRST, "s4"}, "s4 votes")

    (transfer,) = commands(section(CLUSTER, "Let another server lead"))
    machines.must(transfer)
    machines.until(lambda: machines.leader() == "s2", "s2 leads")

    dry_run, remove = commands(section(CLUSTER, "Remove a server"))
    assert machines.must(dry_run).startswith("Would remove ")
    assert "s4" in machines.peers()
    machines.must(remove)
    assert "s4" not in machines.peers()
    machines.until(lambda: "s4" not in machines.peers("s4"), "s4 knows it")
    join = next(w for w in section(CLUSTER, "Remove a server").split("`") if "server join" in w)
    machines.must(join, "s4")
    machines.until(lambda: "s4" in machines.peers(), "s4 is in again")
    (machines.root / "s4/etc/leave.hcl").write_text("leave_on_terminate = true\n")
    assert machines.stop("s4") == 0
    machines.start("s4")
    machines.until(lambda: voters(machines, "s4") == {*FIRST, "s4"}, "s4 votes again")
    assert machines.stop("s4") == 0
    assert voters(machines) == {*FIRST}


@pytest.mark.slow
@needs_etcd
def test_a_dead_server_is_replaced_and_the_others_are_upgraded(machines: Machines) -> None:
    begin(machines)
    machines.must("bellcow operator autopilot set-config -cleanup-dead-servers=false")
    machines.stop("s3", signal.SIGKILL)
    text = section(CLUSTER, "Replace a dead server")
    members, force_leave, _ = commands(text)
    machines.until(lambda: "failed" in machines.must(members), "s3 has failed")
    machines.must(force_leave)
    machines.until(lambda: voters(machines) == {"s1", "s2"}, "s3 is out")
    shutil.rmtree(machines.root / "s3")
    (file,) = blocks(section(CLUSTER, "Add a server"))
    machines.furnish("s3", file, **SOON)
    machines.start("s3")
    machines.until(lambda: voters(machines) == {*FIRST}, "the new s3 votes")

    (defrag,) = commands(section(CLUSTER, "When a store fills up"))
    for name in sorted(FIRST, key=lambda each: each == machines.leader()):
        assert "Was full = no" in machines.must(defrag, name)
        machines.until_it_ends_well(HEALTH)

    machines.must(commands(UPGRADE)[0])
    health, transfer, validate = commands(section(UPGRADE, "bellcow, one server after another"))
    assert health == commands(section(CLUSTER, "Restart one by one"))[0] == MAY_GO_ON
    last = machines.leader()
    for name in sorted(FIRST, key=lambda each: each == last):
        machines.must(health, name)
        assert voters(machines, name) == {*FIRST}
        if name == machines.leader():
            machines.must(transfer, name)
            machines.until(lambda n=name: machines.leader() != n, "another leads")
        assert machines.stop(name) == 0
        machines.must(validate, name)
        machines.start(name)
        machines.must(health, "s1" if name != "s1" else "s2")
    assert (machines.root / "before-upgrade.snap").exists()


@pytest.mark.slow
@needs_etcd
def test_a_server_that_was_away_for_long_votes_again_before_the_next_is_stopped(
    machines: Machines,
) -> None:
    begin(machines)
    may_go_on, keep, clean_up = commands(section(CLUSTER, "Restart one by one"))
    assert may_go_on == MAY_GO_ON
    assert machines.stop("s3") == 0
    machines.until(lambda: voters(machines) == {"s1", "s2"}, "s3 is taken out as dead")
    machines.until_it_ends_well(HEALTH)
    refused = machines.run(f"{HEALTH} -tolerates=1")
    assert refused.returncode == 1
    assert re.fullmatch(
        r"FailureTolerance is 0, 1 is asked for: 2 voters; s3\.global stopped answering at \S+ \S+ "
        r"UTC and was removed at \S+ \S+ UTC\n",
        refused.stderr,
    )
    machines.start("s3")
    machines.must(may_go_on)
    assert voters(machines) == {*FIRST}

    machines.must(keep)
    assert machines.stop("s2") == 0
    machines.until(lambda: "failed" in machines.must("bellcow server members"), "s2 has failed")
    assert "CleanupDeadServers = false" in machines.must("bellcow operator autopilot get-config")
    machines.start("s2")
    machines.must(may_go_on)
    machines.must(clean_up)
    assert voters(machines) == {*FIRST}


@pytest.mark.slow
@needs_etcd
def test_one_server_becomes_three(machines: Machines) -> None:
    alone = 'name = ""\ndata_dir = "/var/lib/bellcow"\nbind_addr = ""\nserver { enabled = true }\n'
    alone += "acl { enabled = true }\n"
    machines.furnish("s1", alone, **SOON)
    machines.start("s1")
    machines.bootstrap("bellcow acl bootstrap")
    machines.until(lambda: machines.peers() == {"s1": ("leader", True)}, "it leads")
    before = machines.must("bellcow operator raft list-peers")
    machines.must("bellcow operator scheduler set-config -scheduler-algorithm=spread")
    machines.stop("s1")
    shutil.rmtree(machines.root / "s1/etc")
    page = section(CLUSTER, "Three servers from nothing")
    (file,) = blocks(page)
    machines.must(commands(page)[0])
    for name in FIRST:
        machines.furnish(name, file, **SOON)
    _, peers, may_go_on = commands(section(UPGRADE, "From one server to several"))
    machines.start("s1")
    machines.until(lambda: machines.peers() == {"s1": ("leader", True)}, "it leads again")
    assert machines.must(peers) == before
    assert "spread" in machines.must("bellcow operator scheduler get-config")
    assert "event=cluster_rebuilt" in machines.log("s1")
    assert list((machines.root / "s1/lib/server").glob("store.db.before-etcd-*"))
    machines.start("s2")
    machines.start("s3")
    machines.must(may_go_on)
    assert voters(machines, "s3") == {*FIRST}


@pytest.mark.slow
@needs_etcd
def test_the_server_of_make_run_becomes_three_on_one_machine(machines: Machines) -> None:
    text = section(UPGRADE, "On one machine")
    first, *others = re.findall(r"(?m)^\$ (.+)$", text)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (run,) = re.findall(r"exec \$\(BIN\)/(bellcow agent .*) \$\(ARGS\)", makefile)
    arguments = re.fullmatch(r'make run ARGS="(.*)"', first)
    assert arguments
    ports = machines.root / "ports.json"
    numbers = {"http": machines.http, "rpc": machines.rpc, "serf": machines.serf}
    ports.write_text(msgspec.json.encode({"ports": numbers, **SOON}).decode())

    def start(name: str, line: str) -> None:
        line = line.replace("$(CURDIR)", "$PWD").replace("$PWD", str(machines.root))
        line = re.sub(r"(-retry-join=\S+)", rf"\1:{machines.serf}", line)
        (machines.root / name).mkdir(exist_ok=True)
        machines.launch(name, *line.split()[2:], f"-config={ports}")

    start("s1", run)
    machines.until(lambda: len(machines.peers()) == 1, "it leads")
    machines.must("bellcow operator scheduler set-config -scheduler-algorithm=spread")
    machines.stop("s1")
    for name, line in zip(FIRST, (f"{run} {arguments[1]}", *others), strict=True):
        start(name, line)
    machines.until(lambda: voters(machines, "s3") == {*FIRST}, "three voters")
    assert "spread" in machines.must("bellcow operator scheduler get-config", "s2")


def test_files_of_nomad_are_read(tmp_path: Path) -> None:
    (line,) = commands(section(UPGRADE, "From Nomad"))
    folder = tmp_path / "nomad.d"
    folder.mkdir()
    (folder / "nomad.hcl").write_text(
        'data_dir = "/opt/nomad/data"\nbind_addr = "0.0.0.0"\n'
        "server {\n  enabled = true\n  bootstrap_expect = 3\n  raft_protocol = 3\n"
        '  encrypt = "cg8StVXbQJ0gPvMd9o7yrg=="\n}\n'
        "client {\n  enabled = false\n}\n"
    )
    (tmp_path / "nomad").symlink_to(BELLCOW)
    machines = Machines(tmp_path)
    done = machines.run(line.replace("/etc/nomad.d", str(folder)))
    assert (done.returncode, done.stdout) == (0, "Configuration is valid!\n"), done.stderr
    assert machines.must("./nomad -version").startswith("Nomad v1.0.18")


def test_versions_of_etcd_are_judged_as_the_page_says() -> None:
    def verdict(version: tuple[int, int, int]) -> str:
        try:
            return "warned" if judge(version) else "right"
        except CannotRun:
            return "refused"

    refused = {(3, 4, 20), (3, 5, 0), (3, 5, 5)}
    warned = {(3, 4, 21), (3, 4, 34), (3, 5, 6), (3, 5, 19), (3, 6, 0), (3, 6, 3)}
    right = {(3, 5, 20), (3, 6, 4)}
    found = {version: verdict(version) for version in refused | warned | right}
    assert found == {
        **dict.fromkeys(refused, "refused"),
        **dict.fromkeys(warned, "warned"),
        **dict.fromkeys(right, "right"),
    }


def test_events_that_the_pages_name_exist() -> None:
    named = {
        "bootstrap_refused",
        "bootstrap_waiting",
        "etcd_exited",
        "expect_differs",
        "join_unanswered",
        "join_wrong_region",
        "leave_refused",
    }
    assert all(f"`{name}`" in CLUSTER for name in named)
    assert named | {"cluster_rebuilt"} <= EVENTS.keys()
