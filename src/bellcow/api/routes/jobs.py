"""The job side: reads find nothing, writes are refused, until there is a scheduler.

Rights, headers, refusals and blocking are final already: monitors, scripts and command lines that
ask for jobs go on working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import INVALID_METHOD, Serve, route
from bellcow.errors import Code, Error, denied, refused
from bellcow.model.namespace import DEFAULT
from bellcow.state.tables import CLUSTER
from bellcow.wire import UUID_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.api.route import Handler

ALL_NAMESPACES = "*"
NO_JOBS = "jobs are not supported yet: this cluster has no scheduler and no client nodes"
MAX_HYPHENS = 4  # of a UUID

# No table holds jobs. Only a restore changes these answers, and it replaces this table too.
RESTORED = (CLUSTER,)
# Capabilities that allow to read something: all of any one group.
Ways = tuple[tuple[str, ...], ...]
READ_JOB: Ways = (("read-job",),)
LISTS: dict[str, Ways] = {
    "/v1/allocations": READ_JOB,
    "/v1/deployments": READ_JOB,
    "/v1/evaluations": READ_JOB,
    "/v1/jobs": (("list-jobs",),),
    "/v1/scaling/policies": (("list-scaling-policies",), ("list-jobs", "read-job")),
    "/v1/volumes": (
        ("csi-list-volume",),
        ("csi-read-volume",),
        ("csi-mount-volume",),
        ("list-jobs",),
    ),
}
# Lists whose `prefix` is that of a UUID, and the word for their things in a refusal.
BY_UUID = {
    "/v1/allocations": "alloc",
    "/v1/deployments": "deployment",
    "/v1/evaluations": "eval",
    "/v1/nodes": "node",
}
# Nomad: these lists never have the index 0.
FROM_ONE = frozenset({"/v1/scaling/policies"})
JOB_LISTS = frozenset({"allocations", "deployments", "evaluations"})
JOB_WRITES = frozenset({"dispatch", "evaluate", "plan", "revert", "stable"})
NODE_WRITES = frozenset({"drain", "eligibility", "evaluate", "purge"})
WRITES = {
    "/v1/allocation/{id}": "PUT, POST",
    "/v1/deployment/{id}": "PUT, POST",
    "/v1/job/{id}": "PUT, POST, DELETE",
    "/v1/jobs": "PUT, POST",
    "/v1/jobs/parse": "PUT, POST",
    "/v1/node/{id}": "PUT, POST",
    "/v1/validate/job": "PUT, POST",
    "/v1/volume/csi/{id}": "PUT, DELETE",
    "/v1/volumes": "PUT, POST",
}


def _words(ways: Ways) -> str:
    groups = " or ".join(" and ".join(group) for group in ways)
    return f"{groups} in the namespace"


def read(
    path: str, right: str = "", *, need: Need = Need.ANONYMOUS, reads: tuple[str, ...] = ()
) -> Callable[[Handler], Handler]:
    """Declare the decorated function as the read of a path; `reads` names its parameters."""
    return route(
        "GET",
        path,
        need=need,
        right=right,
        serve=Serve.VOTER_OR_STALE,
        watch=RESTORED,
        reads=reads,
    )


# Lists


def list_namespaced(call: Call) -> Reply[list[Any]]:
    """The objects of one namespace, or of all the token may see; none yet."""
    name = call.request.param("namespace") or DEFAULT
    if name != ALL_NAMESPACES:
        _must_allow(call, LISTS[call.request.path])
    return _listed(call)


for _path, _ways in LISTS.items():
    read(_path, _words(_ways), reads=("namespace", "prefix"))(list_namespaced)


@read("/v1/nodes", need=Need.NODE_READ, reads=("prefix",))
def list_nodes(call: Call) -> Reply[list[Any]]:
    """The client nodes; none yet."""
    return _listed(call)


@read("/v1/plugins", "plugin:list", reads=("prefix",))
def list_plugins(call: Call) -> Reply[list[Any]]:
    """The storage plugins; none yet.

    Raises:
        denied: the token may not list plugins.
    """
    if not call.rights.plugin_list:
        raise denied()
    return _listed(call)


# One thing


@read("/v1/job/{id}", _words(READ_JOB), reads=("namespace",))
def read_job(call: Call) -> Reply[Any]:
    """A job, or what belongs to it; there is none yet.

    Raises:
        Error: WRONG_METHOD, the path can only be written.
    """
    # An ID may hold slashes, so only the last word can say what is asked of the job.
    name, _, part = call.tail.rpartition("/")
    if name and (part in JOB_WRITES or call.tail.endswith("/periodic/force")):
        raise Error(Code.WRONG_METHOD, INVALID_METHOD)
    by_scaling = (("read-job-scaling",),) if name and part == "scale" else ()
    _must_allow(call, (*READ_JOB, *by_scaling))
    if name and part in JOB_LISTS:
        return _nothing(call)
    if name and part == "deployment":
        return Reply(encoded=b"null", index=_index(call), read=True)
    return _missing(call, "job versions" if name and part == "versions" else "job")


@read("/v1/node/{id}", need=Need.NODE_READ)
def read_node(call: Call) -> Reply[Any]:
    """A client node, or its allocations; there is none yet.

    Raises:
        Error: WRONG_METHOD, the path can only be written.
    """
    node, _, part = call.tail.partition("/")
    if part in NODE_WRITES:
        raise Error(Code.WRONG_METHOD, INVALID_METHOD)
    if part == "allocations":
        return _nothing(call, least=1)
    _must_be_uuid("node", node)
    return _missing(call, "node")


@read("/v1/allocation/{id}", "any token")
def read_allocation(call: Call) -> Reply[Any]:
    """An allocation; there is none yet.

    Raises:
        Error: WRONG_METHOD, the path can only be written.
    """
    if call.tail.endswith("/stop"):
        raise Error(Code.WRONG_METHOD, INVALID_METHOD)
    _must_be_uuid("alloc", call.tail)
    return _missing(call, "alloc")


@read("/v1/evaluation/{id}", _words(READ_JOB), reads=("namespace",))
def read_evaluation(call: Call) -> Reply[Any]:
    """An evaluation, or its allocations; there is none yet."""
    _must_allow(call, READ_JOB)
    evaluation, _, part = call.tail.partition("/")
    _must_be_uuid("eval", evaluation)
    return _nothing(call) if part == "allocations" else _missing(call, "eval")


@read("/v1/deployment/{id}", _words(READ_JOB), reads=("namespace",))
def read_deployment(call: Call) -> Reply[Any]:
    """A deployment, or its allocations; there is none yet.

    Raises:
        Error: WRONG_METHOD, the path can only be written.
    """
    _must_allow(call, READ_JOB)
    part, slash, name = call.tail.partition("/")
    if slash and part != "allocations":
        raise Error(Code.WRONG_METHOD, INVALID_METHOD)
    _must_be_uuid("deployment", name if slash else part)
    return _nothing(call) if slash else _missing(call, "deployment")


SCALING_POLICY: Ways = (("read-scaling-policy",), ("list-jobs", "read-job"))


@read("/v1/scaling/policy/{id}", _words(SCALING_POLICY), reads=("namespace",))
def read_scaling_policy(call: Call) -> Reply[Any]:
    """A scaling policy; there is none yet."""
    _must_allow(call, SCALING_POLICY)
    return _missing(call, "policy", least=1)


VOLUME: Ways = (("csi-read-volume",), ("csi-mount-volume",), ("read-job",))


@read("/v1/volume/csi/{id}", _words(VOLUME), reads=("namespace",))
def read_volume(call: Call) -> Reply[Any]:
    """A volume; there is none yet."""
    _must_allow(call, VOLUME)
    return _missing(call, "volume")


@read("/v1/plugin/csi/{id}", "plugin:read")
def read_plugin(call: Call) -> Reply[Any]:
    """A storage plugin; there is none yet.

    Raises:
        denied: the token may not read plugins.
    """
    if not call.rights.plugin_read:
        raise denied()
    return _missing(call, "plugin")


# Writes


def refuse_job_write(call: Call) -> None:
    """Say that there are no jobs yet.

    Raises:
        Error: NOT_IMPLEMENTED, always.
    """
    del call
    raise Error(Code.NOT_IMPLEMENTED, NO_JOBS)


for _path, _methods in WRITES.items():
    route(
        _methods,
        _path,
        need=Need.ANONYMOUS,
        serve=Serve.LOCAL,
        token=False,
        documented=False,
    )(refuse_job_write)


# Shared


def _must_allow(call: Call, ways: Ways) -> None:
    """Check that all capabilities of one group are granted.

    Raises:
        denied: they are not.
    """
    name = call.request.param("namespace") or DEFAULT
    allows = call.rights.namespace_allows
    if not any(all(allows(name, capability) for capability in group) for group in ways):
        raise denied()


def _listed(call: Call) -> Reply[list[Any]]:
    path = call.request.path
    prefix = call.request.param("prefix")
    if prefix and path in BY_UUID and (problem := uuid_problem(prefix)):
        raise _failed_lookup(BY_UUID[path], problem)
    return _nothing(call, least=1 if path in FROM_ONE else 0)


def _must_be_uuid(word: str, text: str) -> None:
    whole = len(text.encode()) == UUID_CHARS
    problem = uuid_problem(text) if whole else "UUID must be 36 characters"
    if problem:
        raise _failed_lookup(word, problem)


def _failed_lookup(word: str, problem: str) -> Error:
    # Nomad: the text speaks of the index of its store, and the status is 500.
    return refused(f"{word} lookup failed: index error: {problem}")


def uuid_problem(text: str) -> str:
    """Why `text` is not how a UUID begins, "" when it may be. Source: go-memdb's UUIDFieldIndex."""
    size, hyphens = len(text.encode()), text.count("-")
    if size > UUID_CHARS:
        return f"Invalid UUID length. UUID have 36 characters; got {size}"
    if hyphens > MAX_HYPHENS:
        return f'UUID should have maximum of 4 "-"; got {hyphens}'
    digits = text.replace("-", "").encode()
    if len(digits) % 2:
        return "Input (without hyphens) must be even length"
    for byte in digits:
        if chr(byte) not in "0123456789abcdefABCDEF":
            shown = f" '{chr(byte)}'" if chr(byte).isprintable() else ""
            return f"Invalid UUID: encoding/hex: invalid byte: U+{byte:04X}{shown}"
    return ""


def _index(call: Call, least: int = 0) -> int:
    return max(least, call.server.tables.head.floor)


def _nothing(call: Call, least: int = 0) -> Reply[list[Any]]:
    return Reply([], index=_index(call, least), read=True)


def _missing(call: Call, what: str, least: int = 0) -> Reply[Any]:
    return Reply(status=404, text=f"{what} not found", index=_index(call, least), read=True)
