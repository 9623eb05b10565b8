"""`operator keygen`, `operator keyring`, and the later `operator gossip keyring`."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

import click

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.flags import GoCommand, flag, switch
from bellcow.cli.shell.output import listing, note, say
from bellcow.cli.shell.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY_BYTES = 32
_KEYRING = "/v1/agent/keyring"
_NO_KEYRING = "nodes reported failure"
_ANNOUNCED = {
    "list": "Gathering installed encryption keys...",
    "install": "Installing new gossip encryption key...",
    "use": "Changing primary gossip encryption key...",
    "remove": "Removing gossip encryption key...",
}


def _keygen() -> None:
    from bellcow.clock import SystemClock

    say(base64.b64encode(SystemClock().random_bytes(KEY_BYTES)).decode())


@flags.command("Makes a new random key for the encrypt setting of the servers.")
def keygen() -> None:
    _keygen()


def _act(session: Session, action: str, key: str = "") -> None:
    say(_ANNOUNCED[action])
    with _explained(), failing("error: "):
        if action == "list":
            keys = session.client.get(f"{_KEYRING}/list")["Keys"] or {}
            say(listing([["Key"], *([name] for name in sorted(keys))]))
        else:
            session.client.put(f"{_KEYRING}/{action}", {"Key": key})


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """The refusal with an explanation: Nomad's text only counts the servers that refused.

    Raises:
        CommandError: the command inside raised it.
    """
    try:
        yield
    except CommandError as error:
        if _NO_KEYRING in error.message:
            note(
                "A key changes with a restart: a server's keys are in DATA_DIR/server/serf.keyring "
                "or, before its first start, in the setting 'encrypt'"
            )
        raise


def _keyring(session: Session, listed: bool, actions: dict[str, str | None]) -> None:
    asked = [(action, key) for action, key in actions.items() if key]
    if listed:
        asked.append(("list", ""))
    if not asked:
        raise session.misuse(
            "No actionable argument was passed\n"
            "Either the '-install', '-use', '-remove' or '-list' flag must be set"
        )
    if len(asked) > 1:
        raise session.misuse("Only a single action is allowed")
    action, key = asked[0]
    _act(session, action, key or "")


def _actions(body: Callable[..., None]) -> Callable[..., None]:
    body = flag("remove", "key", "Remove a key that is not in use.")(body)
    body = flag("use", "key", "Encrypt with this installed key from now on.")(body)
    body = flag("install", "key", "Install a key on all servers.")(body)
    return switch("list", "List the installed keys.", into="listed")(body)


@command("Lists or changes the installed encryption keys.\n\nNeeds agent:write.")
@_actions
def keyring(session: Session, *, listed: bool, **actions: str | None) -> None:
    _keyring(session, listed, actions)


@command("Lists the installed encryption keys.\n\nNeeds agent:write.")
def list_keys(session: Session) -> None:
    _act(session, "list")


def _one_key(action: str, summary: str) -> GoCommand:
    @command(f"{summary}\n\nNeeds agent:write.", takes=one("key"))
    def run(session: Session, *, words: tuple[str, ...]) -> None:
        _act(session, action, words[0])

    return run


install = _one_key("install", "Installs a key on all servers.")
use = _one_key("use", "Encrypts with this installed key from now on.")
remove = _one_key("remove", "Removes a key that is not in use from all servers.")


def _warn() -> None:
    ctx = click.get_current_context()
    program, name = ctx.command_path.split(" ", 1)
    note(f"'{program} {name}' is an old spelling of '{program} operator {name}'")


@flags.command("Makes a new random key; the old spelling of 'operator keygen'.")
def keygen_by_old_name() -> None:
    _warn()
    _keygen()


@command("Lists or changes encryption keys; the old spelling of 'operator keyring'.")
@_actions
def keyring_by_old_name(session: Session, *, listed: bool, **actions: str | None) -> None:
    _warn()
    _keyring(session, listed, actions)
