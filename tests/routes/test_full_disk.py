"""A disk without room, as clients see it: refused writes, reads, and what health says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.acl.rights import Need
from bellcow.store.protocol import NoSpace

if TYPE_CHECKING:
    import pytest
    from tests.routes.conftest import Running

SCHEDULER = "/v1/operator/scheduler/configuration"
WELL = {"server": {"message": "ok", "ok": True}}


def test_health_says_why_writes_are_refused_while_reads_go_on(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise NoSpace("/var/lib/store.db: (SQLITE_FULL)", "the disk or a quota is full")

    root = server.tokens[Need.MANAGEMENT]

    def write(algorithm: str) -> Any:
        return server.ask("PUT", SCHEDULER, {"SchedulerAlgorithm": algorithm}, token=root)

    assert server.ask("GET", "/v1/agent/health").json() == WELL
    with monkeypatch.context() as disk:
        disk.setattr(server.server.committer._store, "commit", full)
        refused = write("spread")
        # The path of the file and the words of libraries are for the log.
        assert (refused.status_code, refused.text) == (500, "not done: the disk or a quota is full")
        assert server.ask("GET", SCHEDULER, token=root).status_code == 200
        for query in ("", "?type=server", "?stale"):
            health = server.ask("GET", f"/v1/agent/health{query}")
            said = {"message": "ok, but the last write was refused: no space left", "ok": True}
            # The path of the file is for those with a token.
            assert (health.status_code, health.json()) == (200, {"server": said})
    assert write("spread").status_code == write("binpack").status_code == 200
    assert server.ask("GET", "/v1/agent/health").json() == WELL
