"""Proof that a message between servers comes from one of them: a keyed hash, a time and a nonce.

It holds for a request and for its answer, so that neither can be forged, changed or sent again. It
knows nothing of what they say. TLS, where there is any, stands below it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from bellcow.errors import denied

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bellcow.clock import Clock

HEADER = "X-Bellcow-Auth"
WINDOW_MS = 30_000
NONCE_BYTES = 12
NONCES_MAX = 200_000
_FORM = b"1"
_PARTS = 5
ANYONE = "-"  # the server at an address, whichever it is


class Claim(msgspec.Struct, frozen=True):
    """What the header of a request says."""

    time_ms: int
    nonce: str
    to: str
    mac: bytes


class Nonces:
    """Remembers what was accepted. When there is no room, the oldest times are accepted no more."""

    def __init__(self, most: int = NONCES_MAX) -> None:
        self._most = most
        self._count = 0
        self._floor_s = 0
        self._by_second: dict[int, set[str]] = {}

    def __len__(self) -> int:
        return self._count

    def take(self, time_ms: int, nonce: str, now_ms: int) -> bool:
        """Whether this one is new."""
        second = time_ms // 1000
        self._expire(now_ms // 1000)
        seen = self._by_second.get(second, set())
        if second < self._floor_s or nonce in seen:
            return False
        if self._count >= self._most:
            self._drop(oldest := min(self._by_second))
            self._floor_s = oldest + 1
            if second < self._floor_s:
                return False
        self._by_second.setdefault(second, set()).add(nonce)
        self._count += 1
        return True

    def _expire(self, now_s: int) -> None:
        """Forget what is outside the window on either side, where nothing is accepted anyway."""
        width_s = WINDOW_MS // 1000
        if len(self._by_second) > width_s:
            for second in [each for each in self._by_second if abs(each - now_s) > width_s + 1]:
                self._drop(second)

    def _drop(self, second: int) -> None:
        self._count -= len(self._by_second.pop(second))


class Secret:
    """The key that the servers share. An empty one signs and asks nothing.

    What is signed with one of `others` is believed too, so that a key can be changed on one server
    after the other.
    """

    def __init__(
        self, key: bytes, server_id: str, clock: Clock, others: Sequence[bytes] = ()
    ) -> None:
        self._key = key
        self._keys = (key, *others)
        self._server_id = server_id
        self._clock = clock
        self._nonces = Nonces()

    def __bool__(self) -> bool:
        return bool(self._key)

    def sign(self, method: str, path: str, body: bytes, to: str) -> tuple[str, str]:
        """The header of a request and its nonce. `to` is the server meant, "" for any."""
        time_ms = self._clock.wall_ns() // 1_000_000
        nonce = self._clock.random_bytes(NONCE_BYTES).hex()
        whom = to or ANYONE
        mac = _request_mac(self._key, method, path, body, time_ms, nonce, whom)
        return f"{_FORM.decode()} {time_ms} {nonce} {whom} {mac.hex()}", nonce

    def check(self, method: str, path: str, body: bytes, header: bytes | None) -> str:
        """The nonce of a request that is genuine. Raises Error(DENIED) with what is wrong."""
        claim = _read(header)
        if not any(
            hmac.compare_digest(
                _request_mac(key, method, path, body, claim.time_ms, claim.nonce, claim.to),
                claim.mac,
            )
            for key in self._keys
        ):
            raise denied("signed with another key: `encrypt` must be the same on all servers")
        if claim.to not in {self._server_id, ANYONE}:
            raise denied("signed for another server")
        now_ms = self._clock.wall_ns() // 1_000_000
        if abs(now_ms - claim.time_ms) > WINDOW_MS:
            apart_s = (claim.time_ms - now_ms) / 1000
            raise denied(f"signed {apart_s:+.0f} s from now by this server's clock; set the clocks")
        if not self._nonces.take(claim.time_ms, claim.nonce, now_ms):
            raise denied("a message that was sent before")
        return claim.nonce

    def sign_answer(self, nonce: str, status: int, body: bytes) -> str:
        return _answer_mac(self._key, nonce, status, body).hex()

    def check_answer(self, nonce: str, status: int, body: bytes, header: str | None) -> None:
        """Raises Error(DENIED) unless this answers the request with that nonce."""
        given = (header or "").encode("ascii", "replace")  # whatever it is made of
        if not any(
            hmac.compare_digest(_answer_mac(key, nonce, status, body).hex().encode(), given)
            for key in self._keys
        ):
            raise denied("its answer is not signed with our key: `encrypt` must be the same")

    def stream_keys(self, nonce: str, direction: str) -> tuple[bytes, ...]:
        """Keys that seal the streams of one request; the first is ours. None without a secret.

        Each direction of each request has its own, so that nothing of one fits into another.
        """
        keys = self._keys if self else ()
        return tuple(_mac(key, "stream", nonce, direction) for key in keys)


def check_names(names: Collection[str], region: str) -> None:
    """Raise unless a certificate with these names belongs to a server of the region."""
    wanted = f"server.{region}.nomad"
    if wanted not in names:
        shown = ", ".join(sorted(names)[:4]) or "none"
        raise denied(f"certificate is not one of {wanted}; its names: {shown}")


def check_is_server(names: Collection[str]) -> None:
    """Raise unless a certificate with these names belongs to a server, of whichever region."""
    if not any(name.startswith("server.") and name.endswith(".nomad") for name in names):
        raise denied("certificate is not one of a server: server.<region>.nomad")


def _read(header: bytes | None) -> Claim:
    if header is None:
        raise denied("not signed: set `encrypt` to the key of the other servers")
    parts = header.split(b" ")
    if len(parts) != _PARTS or parts[0] != _FORM:
        raise denied("signed in a form that is not known here")
    _, time_ms, nonce, to, mac = parts
    if not (time_ms.isdigit() and len(time_ms) <= 15 and len(nonce) == 2 * NONCE_BYTES):
        raise denied("signed in a form that is not known here")
    try:
        return Claim(int(time_ms), nonce.decode("ascii"), to.decode(), bytes.fromhex(mac.decode()))
    except ValueError:
        raise denied("signed in a form that is not known here") from None


def _request_mac(
    key: bytes, method: str, path: str, body: bytes, time_ms: int, nonce: str, to: str
) -> bytes:
    return _mac(key, "request", method, path, str(time_ms), nonce, to, body)


def _answer_mac(key: bytes, nonce: str, status: int, body: bytes) -> bytes:
    return _mac(key, "answer", nonce, str(status), body)


def _mac(key: bytes, *parts: str | bytes) -> bytes:
    """Over the parts with their lengths, so that nothing can move from one into the next."""
    mac = hmac.new(key, digestmod="sha256")
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        mac.update(b"%d:" % len(data))
        mac.update(data)  # a body may have megabytes, of which a copy takes longer than the hash
    return mac.digest()
