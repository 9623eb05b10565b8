"""The body of a request: who reads it, its decoding, and the refusals of one that is wrong."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.api.message import body_length
from bellcow.api.pipeline.relay import Rest, Sent
from bellcow.errors import Error
from bellcow.gocompat.json import Decoded, decode
from bellcow.gocompat.json_reader import DecodeError

if TYPE_CHECKING:
    from bellcow.api.call import Call
    from bellcow.api.route import BodyRules, Route

DECODERS = 1
DECODE_NOW_LIMIT = 4 << 10  # bytes; the slow reader takes a few milliseconds for as much
LISTED_CHARS = 200


def unread(route: Route, call: Call) -> Sent:
    """The body before anything of it is read. The handler of an upload reads it by itself."""
    if not body_length(call.request):
        return Sent()
    rest = Rest(call.content)
    if route.body is not None:
        return Sent(rest, route.body_rules.limit)
    if call.request.method in {"GET", "DELETE"}:
        return Sent()  # Nomad: a body that the route does not ask for is ignored
    call.content = rest
    return Sent(rest)


class Decoders:
    """Decodes bodies; large ones in threads of their own, which no file waits for."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def arguments(self, route: Route, call: Call, raw: bytes | None) -> tuple[Any, ...]:
        """The body as the handler wants it: nothing, bytes, None, or the declared struct.

        Raises:
            Error: with the route's code, the body cannot be read; or what its `problem()` finds
                wrong.
        """
        if route.body is None:
            return ()
        rules = route.body_rules
        if route.body is bytes:
            return (raw or b"",)
        if not raw and rules.optional:
            return (None,)
        try:
            decoded = await self._decode(route.body, raw)
        except DecodeError as error:
            raise Error(rules.code, f"{rules.prefix}{error}") from None
        _check_keys(route.body, rules, decoded)
        if decoded.unknown:
            call.warnings = (f'299 - "unknown keys ignored: {_listed(decoded.unknown)}"',)
        problem = getattr(decoded.value, "problem", None)
        wrong = problem() if problem is not None else None
        if wrong is not None:
            raise wrong
        return (decoded.value,)

    async def _decode(self, kind: type, raw: bytes | None) -> Decoded:
        if raw is None or len(raw) <= DECODE_NOW_LIMIT:
            return decode(kind, raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, decode, kind, raw)


def _check_keys(kind: type, rules: BodyRules, decoded: Decoded) -> None:
    """Check, where the rules are strict, that a body has a known key.

    Raises:
        Error: with the rules' code, it is null, or has only unknown keys.
    """
    if rules.strict and decoded.null:
        raise Error(rules.code, f"{rules.prefix}the body is null; send an object")
    if rules.strict and decoded.unknown and not decoded.known:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        raise Error(
            rules.code,
            f"{rules.prefix}no key of the body is known: {_listed(decoded.unknown)}; "
            f"known are {known}",
        )


def _listed(keys: tuple[str, ...]) -> str:
    text = ", ".join(keys)[:LISTED_CHARS].replace('"', "'")
    return "".join(char if char.isprintable() else "?" for char in text)
