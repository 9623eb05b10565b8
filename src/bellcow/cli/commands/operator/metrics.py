"""`operator metrics`."""

from __future__ import annotations

import msgspec

from bellcow.cli.shell.errors import failing
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.output import formatted, say, write, write_bytes
from bellcow.cli.shell.session import Session, as_data, command


@command("Shows the metrics of the server that is asked, as it sent them.")
@switch("pretty", "Ask for indented JSON.")
@flag("format", "json|prometheus", "Format to ask for.", into="form", default="")
@as_data
def metrics(session: Session, *, pretty: bool, form: str, as_json: bool, template: str) -> None:
    query = {"format": form} if form else {}
    if pretty:
        query["pretty"] = "true"
    with failing("Error getting metrics: "):
        body = session.client.request("GET", "/v1/metrics", query=query).body()
        if as_json or template:
            shown = formatted(msgspec.json.decode(body), as_json=as_json, template=template)
            say(shown or "")
            return
    write_bytes(body)
    if not body.endswith(b"\n"):
        write("\n")
