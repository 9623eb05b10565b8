"""What can happen to a cluster: each fault begins, lasts, and is over when its function returns.

A fault leaves every server running and every wire whole, though not yet recovered. One that cannot
be made here, or not at this moment, raises `NotNow` with the reason.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from tests.cluster.chaos.cluster import wait_until
from tests.cluster.chaos.votes import time_until

from bellcow import failpoint

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.cluster.chaos.clients import Client, Recorder
    from tests.cluster.chaos.cluster import Cluster, Server
    from tests.harness import Answer

READY_S = 12.0
HANG_S = 11.5
RAFT = "/v1/operator/raft"
GROWN_S = 25.0
# By what health promises, and two seconds more on a machine with other work to do.
SICK_S = 0.2 + 2.0 + 2.0
WELL_S = 1.0 + 2.0 + 2.0
RESTORE_DOUBT_S = 20.0  # a restore of which nothing was seen for so long was not done


class NotNow(Exception):
    """This fault cannot be made."""


class Stage(NamedTuple):
    """What a fault works with."""

    cluster: Cluster
    chance: random.Random
    operator: Callable[[Server], Client]  # a client for the operator's own requests
    recorder: Recorder
    archives: list[bytes]
    hold_s: tuple[float, float] = (0.3, 2.5)

    def hold(self) -> None:
        time.sleep(self.chance.uniform(*self.hold_s))

    def anyone(self) -> Server:
        """A server; the leader as often as not."""
        leader = self.cluster.leader()
        if leader is not None and self.chance.random() < 0.5:
            return leader
        return self.chance.choice(self.cluster.servers)

    def others(self, server: Server) -> list[Server]:
        return [each for each in self.cluster.servers if each is not server]

    def leader(self) -> Server:
        if (leader := self.cluster.leader()) is None:
            raise NotNow("nobody leads")
        return leader

    def wait_until_whole(self) -> None:
        """Some faults are for a cluster that has its full strength."""
        try:
            wait_until(self.cluster.is_whole, READY_S, "a whole cluster")
        except AssertionError as error:
            raise NotNow("the cluster is not whole") from error


# Processes


def kill_server(stage: Stage) -> str:
    server = stage.anyone()
    server.kill()
    stage.hold()
    server.start()
    return server.name


def kill_python(stage: Stage) -> str:
    server = stage.anyone()
    server.kill_python()
    stage.hold()
    server.start()
    return server.name


def kill_etcd(stage: Stage) -> str:
    server = stage.anyone()
    server.kill_etcd()
    stage.hold()
    return server.name


def stop_server(stage: Stage) -> str:
    server = stage.anyone()
    server.stop()
    stage.hold()
    server.start()
    return server.name


def kill_majority(stage: Stage) -> str:
    chosen = stage.chance.sample(stage.cluster.servers, len(stage.cluster.servers) // 2 + 1)
    for server in chosen:
        server.kill()
    stage.hold()
    for server in chosen:
        server.start()
    return " ".join(server.name for server in chosen)


def kill_all(stage: Stage) -> str:
    """As when the power fails."""
    for server in stage.cluster.servers:
        server.kill()
    stage.hold()
    for server in stage.cluster.servers:
        server.start()
    return "all"


def pause_server(stage: Stage) -> str:
    server = stage.anyone()
    server.pause()
    stage.hold()
    server.resume()
    return server.name


def pause_python(stage: Stage) -> str:
    server = stage.anyone()
    server.pause_python()
    stage.hold()
    server.resume()
    return server.name


def pause_etcd(stage: Stage) -> str:
    server = stage.anyone()
    server.pause_etcd()
    stage.hold()
    server.resume()
    return server.name


def hang_python(stage: Stage) -> str:
    """Longer than the watchdog waits for a sign of life; such an agent ends itself, so start it."""
    server = stage.leader()
    server.pause_python()
    time.sleep(HANG_S)
    server.resume()
    time.sleep(1)
    if not server.runs:
        server.start()
    return server.name


# Wires


def cut_off(stage: Stage) -> str:
    """One server from all others, both ways."""
    _needs_wires(stage)
    server = stage.anyone()
    for other in stage.others(server):
        stage.cluster.wires.cut(server.place, other.place)
        stage.cluster.wires.cut(other.place, server.place)
    stage.hold()
    stage.cluster.wires.mend()
    return server.name


def cut_one_pair(stage: Stage) -> str:
    """Two servers from each other; both still see the third."""
    _needs_wires(stage)
    one, other = stage.chance.sample(stage.cluster.servers, 2)
    stage.cluster.wires.cut(one.place, other.place)
    stage.cluster.wires.cut(other.place, one.place)
    stage.hold()
    stage.cluster.wires.mend()
    return f"{one.name} {other.name}"


def cut_one_way(stage: Stage) -> str:
    """One server hears the others, and they do not hear it, or the other way round."""
    _needs_wires(stage)
    server = stage.anyone()
    deaf = stage.chance.random() < 0.5
    for other in stage.others(server):
        ends = (other.place, server.place) if deaf else (server.place, other.place)
        stage.cluster.wires.cut(*ends)
    stage.hold()
    stage.cluster.wires.mend()
    return f"{server.name} {'deaf' if deaf else 'mute'}"


def slow_wire(stage: Stage) -> str:
    _needs_wires(stage)
    server = stage.anyone()
    stage.cluster.wires.slow_down(server.place)
    stage.hold()
    stage.cluster.wires.mend()
    return server.name


def _needs_wires(stage: Stage) -> None:
    if not stage.cluster.wires.can_cut:
        raise NotNow("wires can be cut only as root with network namespaces")


# Disk and clock


def fill_disk(stage: Stage) -> str:
    server = next((each for each in stage.cluster.servers if each.disk is not None), None)
    if server is None:
        raise NotNow("a small disk can be mounted only as root")
    server.fill_disk()
    stage.hold()
    server.free_disk()
    return server.name


def move_clock(stage: Stage) -> str:
    server = next((each for each in stage.cluster.servers if each.clock_file is not None), None)
    if server is None:
        raise NotNow("a clock can be moved only with libfaketime installed")
    seconds = stage.chance.choice((-86_400, -3_600, -40, 40, 3_600, 86_400))
    server.move_clock(seconds)
    stage.hold()
    if stage.chance.random() < 0.5:
        server.move_clock(0)
    return f"{server.name} {seconds:+d} s"


# Operators


def transfer(stage: Stage) -> str:
    leader = stage.leader()
    target = stage.chance.choice(stage.others(leader))
    _ask(stage, "PUT", f"{RAFT}/transfer-leadership?address={target.rpc_address}")
    return f"{leader.name} to {target.name}"


def remove_and_join(stage: Stage) -> str:
    """Take a server out of the configuration, the leader too, and let it in again."""
    stage.wait_until_whole()
    server = stage.anyone()
    answer = _ask(stage, "DELETE", f"{RAFT}/peer?address={server.rpc_address}")
    stage.hold()
    other = stage.others(server)[0]
    joined = server.request("PUT", f"/v1/agent/join?address={other.serf_address}")
    with contextlib.suppress(NotNow):  # else it may take minutes to get its vote again
        stage.wait_until_whole()
    return f"{server.name}, removal {answer.status}, join {joined.status} {joined.text[:100]}"


def wipe(stage: Stage) -> str:
    """A server loses its disk and comes back with its old address."""
    stage.wait_until_whole()
    server = stage.anyone()
    server.kill()
    server.wipe()
    stage.hold()
    server.start()
    return server.name


def grow_and_shrink(stage: Stage) -> str:
    """A fourth server comes, gets a vote, leads for a while if chance will, and is taken out."""
    stage.wait_until_whole()
    before, server = len(stage.cluster.servers), stage.cluster.add()
    try:
        server.start()
        stage.cluster.wait_until_healthy(before + 1, GROWN_S)
        if stage.chance.random() < 0.5:
            _ask(stage, "PUT", f"{RAFT}/transfer-leadership?address={server.rpc_address}")
        stage.hold()
        path = f"{RAFT}/peer?address={server.rpc_address}"
        answer = stage.chance.choice(stage.others(server)).request("DELETE", path, timeout=15)
        stage.hold()
    finally:
        stage.cluster.take_away(server)
    return f"{server.name}, removal {answer.status} {answer.text[:100]}"


def health_follows(stage: Stage) -> str:
    """Health tells in time that a server does not answer, and that it does again."""
    stage.wait_until_whole()
    leader = stage.leader()
    server = stage.chance.choice(stage.others(leader))
    server_id = server.server_id()
    server.pause()
    try:
        sick_s = time_until(leader, server_id, healthy=False, limit_s=SICK_S)
    finally:
        server.resume()
    well_s = time_until(leader, server_id, healthy=True, limit_s=WELL_S)
    return f"{server.name} sick after {sick_s:.1f} s, well after {well_s:.1f} s"


def restore(stage: Stage) -> str:
    """Save the state, or put an earlier one back, while clients read and write."""
    client = stage.operator(stage.chance.choice(stage.cluster.servers))
    try:
        return _save_or_restore(stage, client)
    finally:
        client.close()


def crash_in_restore(stage: Stage) -> str:
    """The leader dies at a certain point of a restore."""
    stage.wait_until_whole()
    server = stage.chance.choice(stage.cluster.servers)
    point = stage.chance.choice(failpoint.POINTS[:-1])  # the last is one of a save
    client = stage.operator(stage.others(server)[0])
    server.stop()
    server.fail_point = point
    server.start()
    server.fail_point = ""
    try:
        stage.wait_until_whole()
        _ask(stage, "PUT", f"{RAFT}/transfer-leadership?address={server.rpc_address}")
        told = _save_or_restore(stage, client)
        died = not server.runs
    finally:
        client.close()
        server.kill()
        server.start()
    return f"{server.name} {'died' if died else 'lived on'} at {point}: {told}"


def _save_or_restore(stage: Stage, client: Client) -> str:
    _, body = client.save()
    if body:
        stage.archives.append(body)
    if not stage.archives:
        raise NotNow("there is no archive yet")
    before = _known_floor(client)
    if before is None:
        raise NotNow("nobody can say whether a restore is done")
    operation = client.restore(stage.chance.choice(stage.archives[-5:]))
    settled = _settled(client, operation, before)
    client.record(settled)
    return f"{client.server.name}: {operation.outcome}, then known as {settled.outcome}"


def _settled(client: Client, operation: Any, before: int) -> Any:
    """The restore with its index, once it shows; one that does not show was not done."""
    deadline = time.monotonic() + RESTORE_DOUBT_S
    while operation.outcome in {"ok", "unknown"} and time.monotonic() < deadline:
        after = client.floor()
        if after is not None and after > before:
            change = {"outcome": "ok", "index": after, "back": client.now()}
            if operation.outcome == "ok":
                del change["back"]
            return msgspec.structs.replace(operation, **change)
        time.sleep(0.1)
    if operation.outcome == "unknown":
        return msgspec.structs.replace(operation, outcome="not done")
    return operation


def _known_floor(client: Client) -> int | None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if (floor := client.floor()) is not None:
            return floor
        time.sleep(0.2)
    return None


def _ask(stage: Stage, method: str, path: str) -> Answer:
    """An operator's request to any server; a refusal is no fault of the cluster."""
    server = stage.chance.choice(stage.cluster.servers)
    try:
        return server.request(method, path, timeout=15)
    except OSError as error:
        raise NotNow(f"{server.name} does not answer: {error}") from error


class Fault(NamedTuple):
    """A kind of fault, and how often it happens beside the others."""

    act: Callable[[Stage], str]
    weight: float
    long: bool = False  # takes more than a few seconds, so for long runs only

    @property
    def name(self) -> str:
        return self.act.__name__


FAULTS = (
    Fault(kill_server, 4),
    Fault(kill_python, 3),
    Fault(kill_etcd, 3),
    Fault(stop_server, 2),
    Fault(kill_majority, 1),
    Fault(kill_all, 1),
    Fault(pause_server, 3),
    Fault(pause_python, 2),
    Fault(pause_etcd, 2),
    Fault(hang_python, 0.5, long=True),
    Fault(cut_off, 4),
    Fault(cut_one_pair, 2),
    Fault(cut_one_way, 2),
    Fault(slow_wire, 1),
    Fault(fill_disk, 1),
    Fault(move_clock, 2),
    Fault(transfer, 3),
    Fault(remove_and_join, 2),
    Fault(wipe, 1, long=True),
    Fault(grow_and_shrink, 1),
    Fault(health_follows, 1),
    Fault(restore, 2),
    Fault(crash_in_restore, 1, long=True),
)
