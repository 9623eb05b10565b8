"""`agent-info`: the state of one server."""

from __future__ import annotations

from typing import Any

from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.output import one_line, say, show, to_json
from bellcow.cli.shell.session import Session, as_data, command


@command("Shows the internal state of the asked server.\n\nNeeds agent:read.")
@as_data
def agent_info(session: Session, *, as_json: bool, template: str) -> None:
    with failing("Error querying agent info: failed querying self endpoint: "):
        answer: dict[str, Any] = session.client.get("/v1/agent/self")
    if as_json and not template:
        say(to_json(answer))
        return
    # Nomad: a template gets the client's structure, whose names differ from the JSON keys.
    fields = {key.capitalize(): value for key, value in answer.items()}
    try:
        show(
            fields,
            lambda: _groups(answer["stats"]),
            as_json=as_json,
            template=template,
            go_type="*api.AgentSelf",
        )
    except CommandError as error:
        raise CommandError(f"Error formatting output: {error.message}") from error


def _groups(stats: dict[str, dict[str, str]]) -> str:
    lines: list[str] = []
    for group, facts in sorted(stats.items()):
        lines.append(one_line(group))
        lines += [
            f"  {one_line(name)} = {one_line(value)}" for name, value in sorted(facts.items())
        ]
    return "\n".join(lines)
