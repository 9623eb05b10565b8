"""How late the server's loop is, as one idle client sees it, and how much memory work takes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from bench.site import resident_bytes

if TYPE_CHECKING:
    from tests.harness import Agent

PAUSE_S = 0.002
SAMPLE_S = 0.02


class Ticker:
    """A thread that asks the same fast question every 2 ms on one connection of its own.

    The time to an answer is the lateness of the loop, plus a little that an idle server takes too.
    """

    def __init__(self, port: int, path: str, token: str) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Nomad-Token: {token}\r\n\r\n"
        ).encode()
        self._port = port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._times: list[float] = []
        self._fault = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self._fault:
            raise RuntimeError(self._fault)

    def _tick(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._end.wait(PAUSE_S):
                began = time.perf_counter()
                connection.sendall(self._request)
                answer = connection.recv(65_536)
                self._times.append(time.perf_counter() - began)
                if answer[9:12] != b"200":
                    self._fault = f"a tick was answered {answer[:80]!r}"
                    return

    @property
    def count(self) -> int:
        return len(self._times)

    def quantile_ms(self, part: float) -> float:
        """Milliseconds below which `part` of the answers came."""
        ordered = sorted(self._times)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1_000


class Memory:
    """A thread that looks at an agent's resident memory every 20 ms; `extra_mb` is the growth."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._before = self._highest = 0

    def __enter__(self) -> Self:
        self._before = self._highest = resident_bytes(self._agent)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                self._highest = max(self._highest, resident_bytes(self._agent))

    @property
    def extra_mb(self) -> float:
        return (self._highest - self._before) / (1 << 20)
