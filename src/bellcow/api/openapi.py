"""The route table as an OpenAPI 3.1 document, for client generators and for people's tools.

Methods, paths, rights, bodies and replies come from the declarations. Query parameters that a
handler reads by itself are listed here, and a test compares the list with the handlers.
`python -m bellcow.api.openapi FILE` writes the document.
"""

from __future__ import annotations

import inspect
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect as kinds

import bellcow
from bellcow.api.call import Reply
from bellcow.api.route import Route, Serve
from bellcow.api.routes import catalog
from bellcow.gocompat.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]

TEXT = {"text/plain": {"schema": {"type": "string"}}}
DENIED = {
    "description": "The token lacks the right (`Permission denied`), or is unknown.",
    "content": TEXT,
}
REFUSED = {"description": "Refused; the body is the reason.", "content": TEXT}
FLAG: Schema = {"type": "string", "enum": ["", "true"]}
NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
DURATION: Schema = {
    "type": "string",
    "examples": ["200ms", "1m30s"],
    "description": "A length of time as Go writes it: 200ms, 10s, 1m30s.",
}
ANY_BYTES: Schema = {"type": "string", "format": "binary"}

# Query parameters, once each: what they mean, and what they look like.
PARAMETERS: dict[str, tuple[str, Schema]] = {
    "address": ("A server, by its address.", {"type": "string"}),
    "cas": ("Only if the ModifyIndex of what is stored is this.", NUMBER),
    "force": ("Do it anyway.", FLAG),
    "format": ("`prometheus` for the text format.", {"type": "string"}),
    "id": ("A server, by its ID.", {"type": "string"}),
    "index": ("Wait until the answer's index is above this.", NUMBER),
    "log_json": ("Lines of JSON instead of text.", {"type": "boolean"}),
    "log_level": (
        "The lowest level shown.",
        {"type": "string", "enum": ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]},
    ),
    "namespace": ("The namespace, `*` for all that the token may see.", {"type": "string"}),
    "node": ("The name of the server, as the member list shows it.", {"type": "string"}),
    "node_id": ("A client node; there are none yet.", {"type": "string"}),
    "plain": ("Bare lines instead of frames.", {"type": "boolean"}),
    "prefix": ("Only names, accessors or IDs that begin with this.", {"type": "string"}),
    "pretty": ("Indent the answer.", FLAG),
    "prune": ("Take the server off the member list as well.", {"type": "boolean"}),
    "region": ("The region that answers; the request is forwarded to it.", {"type": "string"}),
    "server_id": ("A server: its ID, its name with the region, or `leader`.", {"type": "string"}),
    "stale": (
        "Let the server that is asked answer, leader or not. `stale=false` has no effect.",
        FLAG,
    ),
    "type": ("What is asked about.", {"type": "string", "enum": ["server", "client"]}),
    "wait": ("How long to wait for `index`, at most 300s.", DURATION),
}
# Bodies and replies that the annotations of a handler do not declare.
UPLOADS = {"restore_snapshot": "application/octet-stream", "update_license": "text/plain"}
DOWNLOADS = {
    "monitor": "application/json",
    "read_profile": "text/plain; charset=utf-8",
    "save_snapshot": "application/x-gzip",
}
ALSO_ANSWERS = {
    "read_autopilot_health": (429, "The cluster is not healthy; the body says which server."),
    "read_health": (500, "There is no leader; the body says so."),
}


def document() -> Schema:
    """The whole document, ready to be written as JSON."""
    schemas: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for route in catalog.routes():
        if route.documented:
            path = route.path.removesuffix("*")
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bellcow",
            "version": bellcow.__version__,
            "description": "The operator API of a cluster, as Nomad 1.0 speaks it.",
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "parameters": {name: _in_query(name) for name in sorted(PARAMETERS)},
            "responses": {"Denied": DENIED, "Refused": REFUSED},
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Nomad-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: Route, schemas: dict[str, Schema]) -> Schema:
    written, _, _ = route.summary.partition("\nRaises:\n")  # a client reads the responses
    summary, _, rest = written.partition("\n")
    asked = route.right or f"`{route.need.value}`"
    right = f"Right: {asked}. Answered by: {route.serve.value}."
    out: Schema = {
        "operationId": _name(route),
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "summary": summary,
        "description": f"{rest.strip()}\n\n{right}".strip(),
        "parameters": [_in_path(route)] if route.tail else [],
        "responses": _responses(route, schemas),
        "security": [{"token": []}, {"bearer": []}, {}] if route.token else [{}],
    }
    out["parameters"] += [{"$ref": f"#/components/parameters/{n}"} for n in parameters(route)]
    if body := _body(route, schemas):
        out["requestBody"] = body
    return out


def _name(route: Route) -> str:
    """`GET /v1/acl/policy/{name}` -> `getAclPolicyName`."""
    words = "".join(c if c.isalnum() else " " for c in route.path.removeprefix("/v1")).split()
    return route.method.lower() + "".join(word.capitalize() for word in words)


# Parameters


def parameters(route: Route) -> list[str]:
    """The names of the query parameters of a route."""
    names = {"pretty", *route.reads, *(each.name for each in route.query)}
    if route.serve is not Serve.LOCAL:
        names.add("region")
    if route.serve in {Serve.LEADER_OR_STALE, Serve.VOTER_OR_STALE}:
        names.add("stale")
    if route.watch:
        names |= {"index", "wait"}
    return sorted(names)


def _in_query(name: str) -> Schema:
    meaning, schema = PARAMETERS[name]
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _in_path(route: Route) -> Schema:
    name = route.path.rpartition("{")[2].rstrip("}")
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


# Bodies and replies


def _body(route: Route, schemas: dict[str, Schema]) -> Schema | None:
    if route.name in UPLOADS:
        return {"required": True, "content": {UPLOADS[route.name]: {"schema": ANY_BYTES}}}
    if route.body is None:
        return None
    schema = _schema(kinds.type_info(route.body), schemas)
    content = {"application/json": {"schema": schema}}
    return {"required": not route.body_rules.optional, "content": content}


def _responses(route: Route, schemas: dict[str, Schema]) -> Schema:
    content = _content(route, schemas)
    done: Schema = {"description": "Done."}
    if content:
        done["content"] = content
    out = {"200": done}
    if route.name in ALSO_ANSWERS:
        status, meaning = ALSO_ANSWERS[route.name]
        out[str(status)] = {"description": meaning, "content": content}
    if route.token:
        out["403"] = {"$ref": "#/components/responses/Denied"}
    out["default"] = {"$ref": "#/components/responses/Refused"}
    return out


def _content(route: Route, schemas: dict[str, Schema]) -> Schema | None:
    """The body of a success; None where there is none."""
    if route.name in DOWNLOADS:
        return {DOWNLOADS[route.name]: {"schema": ANY_BYTES}}
    reply = route.reply
    if typing.get_origin(reply) is Reply:
        (reply,) = typing.get_args(reply)
    if reply in {None, type(None)}:
        return None
    return {"application/json": {"schema": _schema(kinds.type_info(reply), schemas)}}


# Schemas. msgspec's own generator cannot write the default of a Duration.


def _schema(kind: kinds.Type, schemas: dict[str, Schema]) -> Schema:
    match kind:
        case kinds.StructType():
            return _reference(kind, schemas)
        case kinds.CustomType() if kind.cls is Duration:
            return DURATION
        case kinds.UnionType():
            return {"anyOf": [_schema(each, schemas) for each in kind.types]}
        case kinds.ListType() | kinds.VarTupleType():
            return {"type": "array", "items": _schema(kind.item_type, schemas)}
        case kinds.DictType():
            return {"type": "object", "additionalProperties": _schema(kind.value_type, schemas)}
        case kinds.NoneType():
            return {"type": "null"}
        case kinds.BoolType():
            return {"type": "boolean"}
        case kinds.IntType():
            return {"type": "integer"}
        case kinds.StrType():
            return {"type": "string"}
        case kinds.AnyType():
            return {}
    raise TypeError(f"no schema for {kind!r}")


def _reference(kind: kinds.StructType, schemas: dict[str, Schema]) -> Schema:
    name = kind.cls.__name__
    if name not in schemas:
        schemas[name] = {}  # reserved first, in case the struct contains itself
        schemas[name] = {
            "type": "object",
            "description": inspect.getdoc(kind.cls) or "",
            "properties": {f.encode_name: _property(f, schemas) for f in kind.fields},
            "required": _required(kind.fields),
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _property(field: kinds.Field, schemas: dict[str, Schema]) -> Schema:
    schema = _schema(field.type, schemas)
    default = field.default
    if isinstance(default, Duration):
        return {**schema, "default": str(default)}
    if default is None or isinstance(default, (int, str)):
        return {**schema, "default": default}
    return schema


def _required(fields: Iterable[kinds.Field]) -> list[str]:
    return [field.encode_name for field in fields if field.required]


def encoded() -> bytes:
    """The document as it stands in `docs/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(encoded())
