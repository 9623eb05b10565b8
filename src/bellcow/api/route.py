"""Routes as declarations, and the table of them: all that an endpoint promises.

Method, path, right, server that answers, tables to wait for, parameters, body and the refusal of a
wrong method are declared beside the handler and nowhere else.
"""

from __future__ import annotations

import enum
import inspect
import types
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_type_hints

import msgspec

from bellcow.acl.rights import Need
from bellcow.api.query import Parameter
from bellcow.errors import Code
from bellcow.state.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

Handler: TypeAlias = "Callable[..., Any]"
INVALID_METHOD = "Invalid method"
JSON_LIMIT = 1 << 20  # bytes
SMALL_LIMIT = 4 << 10


class Serve(enum.Enum):
    """Which server answers."""

    LOCAL = "local"  # the one asked
    LEADER = "leader"  # always the leader
    LEADER_OR_STALE = "leader-or-stale"  # the leader, or the one asked with ?stale
    VOTER_OR_STALE = "voter-or-stale"  # a voter that confirms its memory, or any with ?stale
    NAMED = "named server"  # the one that ?server_id names, else the one asked


class BodyRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a body is read and refused. Nomad: prefix and status differ by endpoint.

    `limit` is in bytes. It is small on a route that needs no right: any client may have that much
    read and decoded.
    """

    prefix: str = ""
    code: Code = Code.INVALID
    strict: bool = False  # refuse null and a body without a known key
    optional: bool = False  # no body is no error: the handler gets None
    limit: int = JSON_LIMIT


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path."""

    method: str
    path: str
    need: Need
    serve: Serve
    handler: Handler
    summary: str
    watch: tuple[Table[Any], ...] = ()
    cache: tuple[Table[Any], ...] = ()
    body: type | None = None
    reply: Any = None
    body_rules: BodyRules = BodyRules()
    wrong_method: int = 405
    wrong_method_text: str = INVALID_METHOD
    token: bool = True  # whether the token is checked; an unknown one is then refused
    unknown_token: Code = Code.DENIED
    reads_wait: bool = True  # whether `wait` and `index` are parsed, and refused when malformed
    awaits: bool = False
    query: tuple[Parameter, ...] = ()  # read into `Call.query`, after the token and the body
    reads: tuple[str, ...] = ()  # further query parameters, which the handler reads by itself
    documented: bool = True
    right: str = ""  # the right that the handler itself checks, in words
    admit: Handler | None = None  # refuses a token where `need` cannot, before the body is read

    @property
    def asks(self) -> str:
        """The right as the documents show it."""
        return self.right or self.need.value

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def tail(self) -> bool:
        """Whether the path ends in a name that the client chooses."""
        return self.path.endswith("}")


ROUTES: list[Route] = []


def route(methods: str, path: str, **declared: Any) -> Callable[[Handler], Handler]:
    """Declare the decorated function as the handler of `methods` ("PUT, POST") on `path`.

    A path is literal, or ends in one `{name}` that matches all the rest, or ends in `*` and matches
    every path that begins with it. A handler gets the call, then the body if it declares one. A
    plain function answers from memory without awaiting; a coroutine function may await.
    """

    def declare(handler: Handler) -> Handler:
        hints = get_type_hints(handler)
        for method in methods.split(", "):
            new = Route(
                method=method,
                path=path,
                handler=handler,
                summary=inspect.getdoc(handler) or "",
                awaits=inspect.iscoroutinefunction(handler),
                body=_without_none(hints.get("body")),
                reply=hints.get("return"),
                **declared,
            )
            if any(old.method == method and old.path == path for old in ROUTES):
                raise ValueError(f"{method} {path} is declared twice")
            ROUTES.append(new)
        return handler

    return declare


def _without_none(annotation: Any) -> Any:
    """What `body: T | None` reads when there is a body: T."""
    if isinstance(annotation, types.UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


class Paths:
    """Finds the routes of a path: one look-up for literal paths, then those with a tail."""

    def __init__(self, routes: list[Route]) -> None:
        self._literal: dict[str, dict[str, Route]] = {}
        begins: dict[str, dict[str, Route]] = {}
        for each in routes:
            if each.tail:
                begins.setdefault(each.path[: each.path.index("{")], {})[each.method] = each
            elif each.path.endswith("*"):
                begins.setdefault(each.path[:-1], {})[each.method] = each
                self._literal.setdefault(each.path[:-1], {})[each.method] = each
            else:
                self._literal.setdefault(each.path, {})[each.method] = each
        self._folders = {begin for begin in begins if begin.endswith("/")}
        self._begins = sorted(begins.items(), key=lambda item: -len(item[0]))

    def is_folder(self, path: str) -> bool:
        """Whether `path` is no route itself, but routes with a name lie below it."""
        return f"{path}/" in self._folders

    def find(self, path: str) -> tuple[dict[str, Route], str] | None:
        """The routes by method, and the tail of the path; None for an unknown path."""
        routes = self._literal.get(path)
        if routes is not None:
            return routes, ""
        for start, begun in self._begins:
            if path.startswith(start):
                return begun, path[len(start) :]
        return None
