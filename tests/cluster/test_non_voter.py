"""A server without a vote, when those it follows are gone, or change while it is."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from tests.cluster.chaos.cluster import wait_until
from tests.cluster.restoring import SNAPSHOT, Four, Held, archive_of
from tests.support.etcd import needs_etcd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, needs_etcd]

# Limits of waits, ten times what a machine without other work takes.
START_S = 60.0
OWN_S = 30.0  # to read its own copy, once it answers at all
NEXT_S = 60.0  # to see that a voter is gone, and to ask another


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Four]:
    with Four(keep=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster.begin()


def write(server: Held, name: str) -> None:
    answer = server.request("PUT", "/v1/namespace", {"Name": name})
    assert answer.status == 200, answer


def wait_for(server: Held, name: str, limit_s: float = NEXT_S) -> None:
    def there() -> bool:
        try:
            return name in server.names()
        except (OSError, AssertionError):
            return False

    wait_until(there, limit_s, f"{name} on {server.name}", server.log_path.read_text)


def wait_for_answers(server: Held) -> None:
    """Return when it answers requests, whatever it says."""

    def answers() -> bool:
        try:
            return server.get("/v1/agent/health").status > 0
        except OSError:
            return False

    wait_until(answers, START_S, f"answers of {server.name}")


def test_restarted_without_any_other_server_it_answers_stale_reads_from_its_own_copy(cluster):
    write(cluster.chief, "before")
    wait_for(cluster.standby, "before")
    index = cluster.settle().index
    assert cluster.standby.stop() == 0
    assert list(cluster.standby.data_dir.glob("server/follow.db-*")) == []  # closed in order
    for server in cluster.servers:
        server.kill()
    cluster.standby.start()
    wait_for_answers(cluster.standby)
    wait_for(cluster.standby, "before", OWN_S)
    assert cluster.standby.copy().index == index
    refused = cluster.standby.get("/v1/namespaces")
    assert (refused.status, refused.text) == (500, "No cluster leader")
    for server in cluster.servers[:3]:
        server.start()
    cluster.settle()
    copies = cluster.standby.copies_taken()
    write(cluster.standby, "after")
    wait_for(cluster.standby, "after")
    assert cluster.standby.copies_taken() == copies


def test_it_goes_on_with_another_voter_when_the_one_it_follows_dies(cluster):
    cluster.settle()
    leader = cluster.chief
    for number, voter in enumerate([cluster.follower(0), cluster.follower(1)]):
        copies = cluster.standby.copies_taken()
        voter.kill()
        write(leader, f"without-{number}")
        wait_for(cluster.standby, f"without-{number}")
        assert cluster.standby.copies_taken() == copies  # it went on where it was
        voter.start()
        cluster.settle()


def test_it_takes_the_state_of_a_restore_that_was_done_while_it_was_away(cluster):
    cluster.settle()
    write(cluster.chief, "gone")
    wait_for(cluster.standby, "gone")
    cluster.standby.kill()
    answer = cluster.chief.request("PUT", SNAPSHOT, archive_of("while-away", 1_500))
    assert answer.status == 200, answer
    write(cluster.chief, "after-restore")
    copies = cluster.standby.copies_taken()
    cluster.standby.start()
    wait_for(cluster.standby, "after-restore", START_S + NEXT_S)
    assert "gone" not in cluster.standby.names()
    cluster.settle()
    assert cluster.standby.copies_taken() == copies + 1


def test_killed_while_it_takes_a_state_it_has_the_old_one_until_it_has_the_new(cluster):
    cluster.settle()
    names = cluster.standby.names()
    for number in range(4):
        cluster.standby.kill()
        answer = cluster.chief.request("PUT", SNAPSHOT, archive_of(f"round-{number}-", 2_500))
        assert answer.status == 200, answer
        fresh = cluster.chief.names()
        cluster.standby.start()
        wait_for_answers(cluster.standby)
        time.sleep(number * 0.03)  # on its way from the one to the other
        seen = names
        with contextlib.suppress(OSError, AssertionError):  # it may have nothing loaded yet
            seen = cluster.standby.names()
        assert seen in (names, fresh)
        cluster.standby.kill()
        cluster.standby.start()
        cluster.settle()
        names = fresh
        assert cluster.standby.names() == fresh
