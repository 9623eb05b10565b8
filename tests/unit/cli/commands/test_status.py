from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def test_no_jobs(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/jobs", [])
    assert cli("status").out == "No running jobs\n"


def test_a_server_without_jobs_has_none(cli: Callable[..., Any], server: Any) -> None:
    assert cli("status").out == "No running jobs\n"
    assert cli("status", "zzz").err == 'Unable to resolve ID: "zzz"\n'


def test_jobs_are_listed(cli: Callable[..., Any], server: Any) -> None:
    job = {"ID": "web", "Type": "batch", "Priority": 50, "Status": "dead", "Periodic": True}
    server.on("GET /v1/jobs", [{**job, "SubmitTime": 1795442546000000000}])
    assert cli("status").out == (
        "ID   Type            Priority  Status  Submit Date\n"
        "web  batch/periodic  50        dead    2026-11-23T14:02:26Z\n"
    )


def test_jobs_that_cannot_be_read(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/jobs", b"No cluster leader", 500)
    assert cli("status").err == (
        "Error querying jobs: Unexpected response code: 500 (No cluster leader)\n"
    )


def test_an_id_is_found_by_its_beginning(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/search", {"Matches": {"jobs": ["web"], "nodes": []}})
    assert cli("status", "we").out == ("Jobs: web\nRead it with 'nomad operator api /v1/job/web'\n")
    assert server.requests[0].json == {"Prefix": "we", "Context": "all"}


def test_several_matches_are_listed_by_kind(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/search", {"Matches": {"jobs": ["a1", "a2"], "nodes": ["a3"]}})
    result = cli("status", "a")
    assert (result.status, result.out) == (1, "")
    assert result.err == ('Multiple matches found for id "a"\n\nJobs:\na1, a2\n\nNodes:\na3\n')


def test_an_exact_id_beats_longer_ones(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/search", {"Matches": {"jobs": ["web", "web2"], "odd": ["webx"]}})
    assert cli("status", "web").out.startswith("Jobs: web\n")
