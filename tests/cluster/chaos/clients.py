"""Clients that each talk to one server, and write down what they did and what came back.

What an answer means is decided here: done, refused, certainly not done, or unknown. Whether it was
right is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from tests.cluster.chaos.history import (
    AUTOPILOT,
    EVERYTHING,
    NAMESPACES,
    SCHEDULER,
    Operation,
    Outcome,
    Row,
    is_namespace,
    namespace,
)
from tests.harness import Answer

from bellcow.snapshot import archive
from bellcow.state import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cluster.chaos.cluster import Server

NAMES = tuple(namespace(f"n{number}") for number in range(24))
PATHS = {
    SCHEDULER: "/v1/operator/scheduler/configuration",
    AUTOPILOT: "/v1/operator/autopilot/configuration",
    NAMESPACES: "/v1/namespaces",
}
DEFAULT_PATH = "/v1/namespace/default"
SNAPSHOT_PATH = "/v1/operator/snapshot"
TIMEOUT_S = 12.0  # a commit may take 8 s before it is given up
PAUSE_S = 0.03
UNREACHED_PAUSE_S = 0.2
UNREACHED = "no connection"
VALUES_A_CLIENT = 10_000_000

# Reasons that an answer with 5xx may give, word by word. What is not here is a fault of ours.
STORE_SAYS = (
    r"(?:the consensus does not answer now"
    r"|the store is full: writes are refused until there is room)"
)
NOT_DONE = re.compile(
    r"(?:rpc error: )?(?:"
    r"No cluster leader"
    r"|snapshot restore in progress"
    r"|this server is stopping"
    r"|not done: leadership changed while committing"
    rf"|not done: {STORE_SAYS}"
    rf"|not restored, nothing changed: (?:{STORE_SAYS}|No space left on device))"
)
UNKNOWN = re.compile(
    r"(?:rpc error: )?outcome unknown: (?:"
    r"leadership was lost during the restore"
    r"|this server is stopping"
    r"|the write may or may not be done(?: \((?:"
    r"the connection to the other server broke"
    r"|the stream ended before its end frame"
    r"|500: outcome unknown: this server is stopping"
    r"|it does not answer any more"
    r"|it did not answer)\))?)"
)
# A server that has joined a moment ago holds nothing yet.
EMPTY = re.compile(r"(?:rpc error: )?(?:scheduler|autopilot) config not initialized yet")


def judge(status: int, text: str) -> Outcome:
    """What an answer that is not 200 says about the operation."""
    if status < 500 or NOT_DONE.fullmatch(text) or EMPTY.fullmatch(text):
        return "not done"
    return "unknown"


def is_known(status: int, text: str) -> bool:
    """Whether a failure gives a reason that we have agreed to give."""
    known = (NOT_DONE, UNKNOWN, EMPTY)
    return status < 500 or any(each.fullmatch(text) for each in known)


class Connection:
    """A connection to one server that is made again when it breaks."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._open: http.client.HTTPConnection | None = None

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Answer | Outcome:
        """The answer, or what follows from its absence."""
        if self._open is None:
            place = self.server.place
            fresh = http.client.HTTPConnection(place.client_ip, place.http, timeout=TIMEOUT_S)
            try:
                fresh.connect()
            except OSError:
                return "not done"
            self._open = fresh
        try:
            self._open.request(method, path, body)
            answer = self._open.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            return "unknown"

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class Recorder:
    """Where all clients put what they saw."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.began = time.monotonic()

    def now(self) -> float:
        return round(time.monotonic() - self.began, 6)


class Client:
    """One client: what it can do, one method a kind of operation."""

    def __init__(self, name: str, number: int, server: Server, recorder: Recorder) -> None:
        self.name = name
        self.seen = {SCHEDULER: 0, AUTOPILOT: 0}  # the ModifyIndex read last
        self._connection = Connection(server)
        self._recorder = recorder
        self._next_value = number * VALUES_A_CLIENT

    @property
    def server(self) -> Server:
        return self._connection.server

    def close(self) -> None:
        self._connection.close()

    def read(self, key: str, mode: str = "") -> Operation:
        """Read a setting, a namespace or the list of them; `mode` is a query."""
        path = PATHS.get(key) or f"/v1/namespace/{key.removeprefix(f'{NAMESPACES}/')}"
        operation = self._operation("read", key, stale=mode == "?stale")
        return self._do(operation, "GET", path + mode)

    def write(self, key: str, expected: int | None = None) -> Operation:
        self._next_value += 1
        row = Row(str(self._next_value), 0)
        kind = "write" if expected is None else "compare"
        operation = self._operation(kind, key, row=row, expected=expected)
        path = "/v1/namespace" if is_namespace(key) else PATHS[key]
        query = "" if expected is None else f"?cas={expected}"
        return self._do(operation, "PUT", path + query, _body(key, self._next_value))

    def delete(self, key: str) -> Operation:
        path = f"/v1/namespace/{key.removeprefix(f'{NAMESPACES}/')}"
        return self._do(self._operation("delete", key), "DELETE", path)

    def save(self) -> tuple[Operation, bytes]:
        """An archive of the whole state, which is a read of everything at once."""
        operation = self._operation("save", EVERYTHING)
        answer = self._connection.exchange("GET", SNAPSHOT_PATH)
        body = b""
        if isinstance(answer, Answer) and answer.status == 200:
            with contextlib.suppress(Exception):  # cut off: the clients see that as a failure too
                rows, index = rows_of(answer.body)
                operation = msgspec.structs.replace(operation, rows=rows, index=index)
                body = answer.body
        if not body:
            operation = _failed(operation, answer)
        return self._record(operation), body

    def restore(self, body: bytes) -> Operation:
        """Send an archive; the caller finds out the index, and records it."""
        rows, _ = rows_of(body)
        operation = self._operation("restore", EVERYTHING, rows=rows)
        answer = self._connection.exchange("PUT", SNAPSHOT_PATH, body)
        if not isinstance(answer, Answer) or answer.status != 200:
            operation = _failed(operation, answer)
        return msgspec.structs.replace(operation, back=self._recorder.now())

    def floor(self) -> int | None:
        """The index of the last restore; None without an answer.

        Nobody writes the default namespace, so its index is that of the last restore.
        """
        answer = self._connection.exchange("GET", DEFAULT_PATH)
        if isinstance(answer, Answer) and answer.status == 200:
            return int(answer.header("X-Nomad-Index") or 0)
        return None

    def now(self) -> float:
        return self._recorder.now()

    def record(self, operation: Operation) -> None:
        self._recorder.operations.append(operation)

    def _operation(self, kind: Any, key: str, **more: Any) -> Operation:
        now = self._recorder.now()
        server = self.server
        return Operation(
            client=self.name,
            server=server.name,
            life=server.life,
            kind=kind,
            key=key,
            call=now,
            back=now,
            **more,
        )

    def _do(
        self, operation: Operation, method: str, path: str, body: bytes | None = None
    ) -> Operation:
        answer = self._connection.exchange(method, path, body)
        return self._record(self._understood(operation, answer))

    def _record(self, operation: Operation) -> Operation:
        operation = msgspec.structs.replace(operation, back=self._recorder.now())
        self._recorder.operations.append(operation)
        return operation

    def _understood(self, operation: Operation, answer: Answer | Outcome) -> Operation:
        missing = operation.kind == "read" and is_namespace(operation.key)
        if not isinstance(answer, Answer):
            return _failed(operation, answer)
        if answer.status != 200 and not (answer.status == 404 and missing):
            return _failed(operation, answer)
        found = _read_answer(operation, answer)
        if operation.key in self.seen and found.kind == "read" and found.row is not None:
            self.seen[operation.key] = found.row.modified
        return found


class Random(threading.Thread):
    """A client that does one thing after the other until it is stopped."""

    def __init__(self, client: Client, seed: int) -> None:
        super().__init__(daemon=True, name=client.name)
        self.client = client
        self.failure: BaseException | None = None
        self._chance = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        try:
            while not self._over.wait(self._chance.uniform(0.5, 1.5) * PAUSE_S):
                if self._step().reason == UNREACHED:
                    self._over.wait(UNREACHED_PAUSE_S)
        except BaseException as error:  # noqa: BLE001  told by who waits for us
            self.failure = error
        finally:
            self.client.close()

    def stop(self) -> None:
        self._over.set()

    def _step(self) -> Operation:
        chance, client = self._chance, self.client
        kinds = ("read", "write", "compare", "delete")
        (kind,) = chance.choices(kinds, (55, 20, 17, 8))
        setting = chance.choice((SCHEDULER, AUTOPILOT))
        name = chance.choice(NAMES)
        if kind == "read":
            key = chance.choice((SCHEDULER, AUTOPILOT, NAMESPACES, name))
            return client.read(key, chance.choices(("", "?consistent", "?stale"), (45, 15, 40))[0])
        if kind == "write":
            return client.write(chance.choice((setting, name, name)))
        if kind == "delete":
            return client.delete(name)
        return client.write(setting, client.seen[setting])


def rows_of(body: bytes) -> tuple[dict[str, Row], int]:
    """What an archive holds of what clients write, and the index it was made at."""
    limit = archive.limit_for(len(body), 1 << 30)
    read = archive.read(io.BytesIO(body), io.BytesIO(), limit, known=tables.REGISTRY)
    rows = {}
    for name, row_id, value in read.records():
        table, row = tables.decode((name, row_id), value)
        if table is tables.SCHEDULER:
            rows[SCHEDULER] = Row(str(row.node_limit_for_feasibility_checks), row.modify_index)
        elif table is tables.AUTOPILOT:
            rows[AUTOPILOT] = Row(str(row.max_trailing_logs), row.modify_index)
        elif table is tables.NAMESPACES and row_id != "default":
            rows[namespace(row_id)] = Row(row.description, row.modify_index)
    return rows, read.meta.index


def _failed(operation: Operation, answer: Answer | Outcome) -> Operation:
    if not isinstance(answer, Answer):
        reason = UNREACHED if answer == "not done" else "no answer"
        return msgspec.structs.replace(operation, outcome=answer, reason=reason)
    text = answer.text.strip()
    return msgspec.structs.replace(
        operation,
        outcome=judge(answer.status, text),
        status=answer.status,
        reason=text[:300] or "no reason",
    )


def _read_answer(operation: Operation, answer: Answer) -> Operation:
    """What a good answer says, in the words of the history."""
    change: dict[str, Any] = {"status": answer.status}
    if index := answer.header("X-Nomad-Index"):
        change["index"] = int(index)
    if operation.stale and (contact := answer.header("X-Nomad-LastContact")):
        change["contact_ms"] = int(contact)
    if operation.writes:
        if operation.kind == "compare" and not _updated(answer):
            change["outcome"] = "refused"
    elif operation.key == NAMESPACES:
        rows = {namespace(each["Name"]): _row(each, "Description") for each in answer.json()}
        change["rows"] = {key: row for key, row in rows.items() if key != namespace("default")}
    elif answer.status == 200:
        change["row"] = _seen_row(operation.key, answer.json())
    return msgspec.structs.replace(operation, **change)


def _updated(answer: Answer) -> bool:
    value = answer.json()
    return bool(value["Updated"] if isinstance(value, dict) else value)


def _seen_row(key: str, value: Mapping[str, Any]) -> Row:
    if key == SCHEDULER:
        return _row(value["SchedulerConfig"], "NodeLimitForFeasibilityChecks")
    return _row(value, "MaxTrailingLogs" if key == AUTOPILOT else "Description")


def _row(value: Mapping[str, Any], field: str) -> Row:
    return Row(str(value[field]), int(value["ModifyIndex"]))


def _body(key: str, value: int) -> bytes:
    if key == SCHEDULER:
        body: dict[str, Any] = {"NodeLimitForFeasibilityChecks": value}
    elif key == AUTOPILOT:
        body = {"MaxTrailingLogs": value, "ServerStabilizationTime": "1s"}
    else:
        name = key.removeprefix(f"{NAMESPACES}/")
        body = {"Name": name, "Description": str(value)}
    return msgspec.json.encode(body)
