"""Headers that are added to every answer, and others in their place while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.acl.rights import Need

if TYPE_CHECKING:
    from tests.routes.conftest import Running

CACHED = "/v1/operator/scheduler/configuration"


def test_other_headers_reach_kept_answers_too(server: Running) -> None:
    root = server.tokens[Need.MANAGEMENT]

    def seen() -> list[str | None]:
        request = server.request("GET", CACHED, token=root)
        answers = [server.answer(request), server.answer(request)]
        refusal = server.answer(server.request("GET", CACHED, token="nobody's"))
        return [
            value
            for answer in (*answers, refusal)
            for name, value in answer.headers
            if name.startswith(b"X-")
            and name not in {b"X-Nomad-Index", b"X-Nomad-Knownleader", b"X-Nomad-Lastcontact"}
        ]

    assert seen() == []
    server.pipeline.add_headers({"X-House": "one"})
    assert seen() == [b"one"] * 3
    server.pipeline.add_headers({"X-Other": "caf\u00e9"})
    assert seen() == [b"caf\xe9"] * 3
    server.pipeline.add_headers({})
    assert seen() == []
