"""Several agents that know each other, as processes on the loopback interface."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

from tests.harness import WAIT_S, Agent, until
from tests.support.etcd import short_directory

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIGURATION = "/v1/operator/raft/configuration"
HEALTH = "/v1/operator/autopilot/health"


class Several:
    """A cluster of the servers that are named. Use it as a context: it then has a leader."""

    def __init__(self, *names: str, settings: dict[str, Any] | None = None) -> None:
        self._names = names
        self._settings = settings or {}
        self._exit = contextlib.ExitStack()
        self.agents: dict[str, Agent] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # The path of a Unix socket may not be long.
            self.folder = stack.enter_context(short_directory()).parent
            stack.callback(self._end)
            for name in self._names:
                self.agents[name] = Agent(self.folder / name, self._settings, name=name)
            for name in self._names:
                self.configure(name, bootstrap_expect=len(self._names))
                self.agents[name].start(wait=False)
            for name in self._names:
                self.agents[name].wait()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def _end(self) -> None:
        for name, agent in self.agents.items():
            if self.runs(name):
                agent.kill()
            print(f"== {name}\n{agent.log[-6000:]}")  # shown when the test fails

    def add(self, name: str, settings: dict[str, Any] | None = None, **server: Any) -> Agent:
        """One more server, started; it joins the first ones."""
        agent = Agent(self.folder / name, {**self._settings, **(settings or {})}, name=name)
        self.agents[name] = agent
        self.configure(name, **server)
        return agent.start(wait=False)

    def configure(self, name: str, **server: Any) -> None:
        """Give the `server` block of one these settings, besides whom it joins."""
        agent = self.agents[name]
        addresses = [f"127.0.0.1:{self.agents[each].serf_port}" for each in self._names]
        settings = json.loads(agent.config_path.read_text())
        joins = {"server_join": {"retry_join": addresses, "retry_interval": "1s"}}
        kept = {key: value for key, value in settings["server"].items() if key in self._own()}
        settings["server"] = {"enabled": True, **joins, **kept, **server}
        agent.config_path.write_text(json.dumps(settings))

    def _own(self) -> dict[str, Any]:
        return dict(self._settings.get("server", {}))

    # Questions

    def runs(self, name: str) -> bool:
        process = self.agents[name].process
        return process is not None and process.poll() is None

    def one(self) -> Agent:
        """Any that runs."""
        return next(agent for name, agent in self.agents.items() if self.runs(name))

    def servers(self, via: Agent | None = None, token: str = "") -> dict[str, dict[str, Any]]:
        """The entries of the consensus configuration by name."""
        answer = (via or self.one()).get(CONFIGURATION, token)
        assert answer.status == 200, answer
        return {each["Node"].partition(".")[0]: each for each in answer.json()["Servers"]}

    def voters(self, via: Agent | None = None, token: str = "") -> set[str]:
        return {name for name, each in self.servers(via, token).items() if each["Voter"]}

    def leader(self, via: Agent | None = None, token: str = "") -> str:
        """The leader, as soon as one leads whose name is known."""

        def known() -> str:
            servers = self.servers(via, token)
            leaders = [name for name, each in servers.items() if each["Leader"]]
            return next(name for name in leaders if name in self.agents)

        return until(known, "a leader")

    def followers(self, token: str = "") -> list[str]:
        servers = self.servers(token=token)
        return [name for name, each in servers.items() if not each["Leader"]]

    def statuses(self, via: Agent | None = None) -> dict[str, str]:
        """Of the members, by full name."""
        members = (via or self.one()).get("/v1/agent/members").json()["Members"]
        return {each["Name"]: each["Status"] for each in members}

    def is_healthy(self, via: Agent | None = None) -> bool:
        return (via or self.one()).get(HEALTH).status == 200

    def until(self, holds: Callable[[], object], what: str, limit_s: float = WAIT_S) -> None:
        """Wait until it holds; one who does not answer yet does not end the wait."""
        until(holds, what, limit_s)

    # Changes

    def let_lead(self, name: str, via: Agent | None = None, token: str = "") -> None:
        """Hand leadership to a server, and wait until all agree that it leads."""
        agent = via or self.one()
        self.until(lambda: name in self.servers(agent, token), f"{name} is known by name")
        servers = self.servers(agent, token)
        path = f"/v1/operator/raft/transfer-leadership?id={servers[name]['ID']}"
        if not servers[name]["Leader"]:  # one that has just started may not be heard of yet
            self.until(lambda: agent.put(path, token=token).status == 200, f"{name} may lead")
        address = f"127.0.0.1:{self.agents[name].rpc_port}"
        self.until(
            lambda: all(
                self.agents[each].get("/v1/status/leader?stale").json() == address
                for each in servers
                if self.runs(each)
            ),
            f"{name} leads",
        )
