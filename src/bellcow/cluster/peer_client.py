"""Calls to other servers over HTTP: one session, POST only.

A PUT or DELETE would be sent a second time when a kept connection breaks, a POST is not. A call is
a message and its answer, or a stream of frames either way. It signs what it sends and believes only
what is signed; what is said is not its business.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

from bellcow.cluster.frames import ANSWER, QUESTION, Sealed, opened, whole
from bellcow.cluster.wire_auth import HEADER
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    import aiohttp

    from bellcow.cluster.calls import Target
    from bellcow.cluster.wire_auth import Secret

ANSWER_BYTES = 16 << 20
WORDS = 300  # characters of a refusal that are worth telling
CONNECT_S = 1.0  # a server of ours that does not take a call by then is not there
IDLE_S = 30.0  # a connection is kept this long; more than the longest pause between two hellos


class PeerClient:
    """The `Line` of a server on a network. Use it as an async context manager."""

    def __init__(
        self,
        secret: Secret,
        *,
        tls: ssl.SSLContext | None = None,
        verify_names: bool = False,
        source: str = "",
    ) -> None:
        self._secret = secret
        self._tls = tls
        self._verify_names = verify_names
        self._source = source
        self._open = False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._open = False
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made for the first call: a server alone needs no HTTP client."""
        if not self._open:
            raise Error(Code.UNAVAILABLE, "the client is closed")
        if self._session is None:
            import aiohttp

            local = (self._source, 0) if self._source else None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, local_addr=local),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Who calls sets the limit.
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S),
            )
        return self._session

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        """See `hello.Line`."""
        import aiohttp

        headers = {"Content-Type": "application/msgpack"}
        nonce = ""
        if self._secret:
            headers[HEADER], nonce = self._secret.sign("POST", path, body, target.server_id)
        try:
            status, answer, proof = await self._send(target, path, body, headers)
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as fault:
            raise Error(Code.DENIED, f"TLS: {fault}") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            # ValueError: an address that no name service could be asked about.
            raise Error(Code.UNAVAILABLE, str(fault) or type(fault).__name__) from None
        if status != 200:
            text = answer[:WORDS].decode("utf-8", "replace")
            raise Error(Code.REFUSED, f"{status}: {text}")
        if self._secret:
            self._secret.check_answer(nonce, status, answer, proof)
        return answer

    async def stream(
        self, target: Target, path: str, frames: Iterable[bytes] | AsyncIterator[bytes]
    ) -> PeerStream:
        """Send frames, and return those of the answer as soon as it begins. There is no time limit.

        The request leaves with its first frame. Raises Error: UNAVAILABLE when nothing was sent,
        UNKNOWN_OUTCOME when the connection broke or the server failed, DENIED when we must not
        believe it, REFUSED with the server's own words, or whatever `frames` raised. The same holds
        while the answer is read. Close what is returned.
        """
        headers = {"Content-Type": "application/octet-stream"}
        nonce = ""
        if self._secret:
            headers[HEADER], nonce = self._secret.sign("POST", path, b"", target.server_id)
        sent = _Outgoing(frames, next(iter(self._secret.stream_keys(nonce, QUESTION)), b""))
        with _explained(sent):
            response = await self._post(target, path, sent.data, headers)
        answer = PeerStream(response, sent, self._secret.stream_keys(nonce, ANSWER))
        if response.status != 200:
            try:
                text = await answer.words()
            finally:
                await answer.aclose()
            # A server that fails or is stopped says 500, wherever it stood.
            code = Code.UNKNOWN_OUTCOME if response.status >= 500 else Code.REFUSED
            raise Error(code, f"{response.status}: {text}")
        return answer

    async def _send(
        self, target: Target, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, str | None]:
        """Status, body and proof of the answer."""
        async with await self._post(target, path, body, headers) as response:
            answer = await _read(response)
            return response.status, answer, response.headers.get(HEADER)

    async def _post(
        self, target: Target, path: str, body: Any, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        return await self._opened().post(
            self._url(target, path),
            data=body,
            headers=headers,
            ssl=self._tls or True,
            server_hostname=self._name_of(target),
            allow_redirects=False,
        )

    def _url(self, target: Target, path: str) -> str:
        host, port = target.address
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{port}{path}"

    def _name_of(self, target: Target) -> str | None:
        if self._tls is None or not self._verify_names:
            return None
        return f"server.{target.region}.nomad"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, as long as it is not larger than any of ours could be."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > ANSWER_BYTES:
            response.close()
            raise Error(Code.TOO_LARGE, f"the answer is larger than {ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


class PeerStream:
    """The frames of an answer. Closing it before its end breaks the connection."""

    def __init__(
        self, response: aiohttp.ClientResponse, sent: _Outgoing, keys: tuple[bytes, ...]
    ) -> None:
        self._response = response
        self._sent = sent
        sent.on_failure = response.close  # else the reader would wait for ever
        self._frames = opened(response.content.iter_any(), keys)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _explained(self._sent):
            return await anext(self._frames)

    async def words(self) -> str:
        """What a refusal says."""
        with _explained(self._sent):
            raw = await self._response.content.read(WORDS)
        return raw.decode("utf-8", "replace")

    async def aclose(self) -> None:
        if not self._response.content.at_eof():
            self._response.close()
        await self._response.wait_for_close()


class _Outgoing:
    """What is sent, and how it failed: the HTTP client tells of a failure in words of its own."""

    def __init__(self, frames: Iterable[bytes] | AsyncIterator[bytes], key: bytes) -> None:
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] | None = None
        self.data: bytes | _Outgoing = self
        self._sealed = Sealed(key)
        if isinstance(frames, AsyncIterator):
            self._sealed = Sealed(key, (), frames)
        else:
            self.data = whole(key, frames)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._sealed)
        except StopAsyncIteration:
            raise
        except Exception as failure:
            self.failure = failure
            if self.on_failure is not None:
                self.on_failure()
            raise


@contextlib.contextmanager
def _explained(sent: _Outgoing) -> Iterator[None]:
    """Raise what a failure of the HTTP client means to who called."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        if sent.failure is not None:
            raise sent.failure from None
        raise _meaning(fault) from None
    except Error as error:
        if error.code is Code.UNKNOWN_OUTCOME and sent.failure is not None:
            raise sent.failure from None
        raise


def _meaning(fault: Exception) -> Error:
    import aiohttp

    text = str(fault) or type(fault).__name__
    if isinstance(fault, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return Error(Code.DENIED, f"TLS: {text}")
    unsent = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ValueError
    if isinstance(fault, unsent):
        return Error(Code.UNAVAILABLE, text)
    return Error(Code.UNKNOWN_OUTCOME, "the connection to the other server broke")
