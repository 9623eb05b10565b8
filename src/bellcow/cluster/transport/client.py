"""Calls to other servers over HTTP: one session, POST only.

aiohttp repeats a PUT or DELETE when a kept connection breaks, and never a POST. A call is a
message and its answer, or a stream of frames each way. With TLS nothing is sent and no answer,
not even a refusal, is accepted before the other side has proved that it is a server.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

from bellcow.cluster.transport.frames import Framed, opened, whole
from bellcow.errors import Code, Error
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    import aiohttp

    from bellcow.cluster.members.schedule import Target
    from bellcow.cluster.transport.server_names import ServerNames

ANSWER_BYTES = 16 << 20  # as one frame
REFUSAL_BYTES = 300  # of a refusal's text are logged
CONNECT_S = 1.0  # as long as a hello waits for its answer
# OpenSSL's texts for a certificate that another key or authority has signed,
_OF_STRANGERS = frozenset(
    {
        "self-signed certificate in certificate chain",
        "self signed certificate in certificate chain",
        "unable to get local issuer certificate",
        "unable to verify the first certificate",
    }
)
# and its reasons when the other side answers a handshake with something else.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
WITHOUT_TLS = "Client sent an HTTP request to an HTTPS server."  # Go's text
IDLE_S = 30.0  # after that a connection closes; more than the longest pause between hellos


class PeerClient:
    """The `Transport` of a server on a network. Use it as an async context manager."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        names: ServerNames | None = None,
        source: str = "",
    ) -> None:
        self._tls = tls
        self._names = names
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
        """The session, made for the first call: a server alone needs no HTTP client.

        Raises:
            Error: UNAVAILABLE, the client is closed.
        """
        if not self._open:
            raise Error(Code.UNAVAILABLE, "the client is closed")
        if self._session is None:
            import aiohttp

            local = (self._source, 0) if self._source else None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, local_addr=local),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Callers set the limit of the whole call.
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S),
            )
        return self._session

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        """See `exchange.Transport`.

        Raises:
            Error: as it says.
        """  # noqa: DOC501  made by `_refusal` too
        import aiohttp

        headers = {"Content-Type": "application/msgpack"}
        try:
            status, answer = await self._send(target, path, body, headers)
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as fault:
            raise Error(Code.DENIED, f"TLS: {_no_handshake(fault)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            # ValueError: the address cannot be encoded for a name service.
            raise Error(Code.UNAVAILABLE, _text_of(fault)) from None
        if status != 200:
            raise _refusal(status, answer[:REFUSAL_BYTES].decode("utf-8", "replace"))
        return answer

    async def stream(
        self, target: Target, path: str, frames: Iterable[bytes] | AsyncIterator[bytes]
    ) -> PeerStream:
        """Send frames; return those of the answer as soon as it begins. There is no time limit.

        The request leaves with its first frame. Reading the answer raises the same. The caller
        closes the stream. Exceptions of `frames` pass through.

        Raises:
            Error: UNAVAILABLE, nothing was sent; UNKNOWN_OUTCOME, the connection broke or the
                server failed; DENIED, the other side is not authenticated; REFUSED, with the
                server's own text.
        """  # noqa: DOC501  made by `_refusal` too
        headers = {"Content-Type": "application/octet-stream"}
        sent = _Outgoing(frames)
        with _explained(sent):
            response = await self._post(target, path, sent.data, headers)
        answer = PeerStream(response, sent)
        if response.status != 200:
            try:
                text = await answer.refusal_text()
            finally:
                await answer.aclose()
            # A server that fails or stops says 500 at any point of the work.
            if response.status >= 500:
                raise Error(Code.UNKNOWN_OUTCOME, f"{response.status}: {text}")
            raise _refusal(response.status, text)
        return answer

    async def _send(
        self, target: Target, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        async with await self._post(target, path, body, headers) as response:
            return response.status, await _read(response)

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
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{join_host_port(target.address)}{path}"

    def _name_of(self, target: Target) -> str | None:
        if self._tls is None or self._names is None:
            return None
        return self._names.of(target.region)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body.

    Raises:
        Error: TOO_LARGE, it is above `ANSWER_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > ANSWER_BYTES:
            response.close()
            raise Error(Code.TOO_LARGE, f"the answer is larger than {ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _refusal(status: int, text: str) -> Error:
    """The caller's error for a refusal; the missing TLS gets a text of our own."""
    if text.strip() == WITHOUT_TLS:
        text = "it speaks TLS: give this server the same `encrypt`, or certificates, as the others"
        return Error(Code.DENIED, text)
    return Error(Code.REFUSED, f"{status}: {text}")


class PeerStream:
    """The frames of an answer. Closing it before its end breaks the connection."""

    def __init__(self, response: aiohttp.ClientResponse, sent: _Outgoing) -> None:
        self._response = response
        self._sent = sent
        sent.on_failure = response.close  # otherwise the reader would wait for ever
        self._frames = opened(response.content.iter_any())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _explained(self._sent):
            return await anext(self._frames)

    async def refusal_text(self) -> str:
        """The beginning of a refusal.

        Raises:
            Error: as `stream` does.
        """
        with _explained(self._sent):
            raw = await self._response.content.read(REFUSAL_BYTES)
        return raw.decode("utf-8", "replace")

    async def aclose(self) -> None:
        """Release the connection, or close it if the answer was not read to its end."""
        if not self._response.content.at_eof():
            self._response.close()
        await self._response.wait_for_close()


class _Outgoing:
    """The sent frames, and the error they raised: aiohttp would replace it with its own."""

    def __init__(self, frames: Iterable[bytes] | AsyncIterator[bytes]) -> None:
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] | None = None
        self.data: bytes | _Outgoing = self
        self._framed = Framed()
        if isinstance(frames, AsyncIterator):
            self._framed = Framed((), frames)
        else:
            self.data = whole(frames)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._framed)
        except StopAsyncIteration:
            raise
        except Exception as failure:
            self.failure = failure
            if self.on_failure is not None:
                self.on_failure()
            raise


@contextlib.contextmanager
def _explained(sent: _Outgoing) -> Iterator[None]:
    """Translate the errors of aiohttp; an error of the sent frames comes first.

    Raises:
        Error: the call failed.
    """  # noqa: DOC501  made by `_translated` too
    import aiohttp

    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        if sent.failure is not None:
            raise sent.failure from None
        raise _translated(fault) from None
    except Error as error:
        if error.code is Code.UNKNOWN_OUTCOME and sent.failure is not None:
            raise sent.failure from None
        raise


def _no_handshake(fault: Exception) -> str:
    """Why a handshake failed, and which setting to check."""
    # The wrapped error has the reason without the address, which every event shows.
    reason = getattr(fault, "certificate_error", None) or getattr(fault, "os_error", fault)
    said = getattr(reason, "verify_message", "") or getattr(reason, "reason", "") or str(reason)
    if said in _OF_STRANGERS:
        return f"{said}: `encrypt` must be the same on all servers, or the certificates' authority"
    if said in _NOT_TLS:
        return "it speaks without TLS: give all servers the same `encrypt`"
    return str(said)


def _text_of(fault: Exception) -> str:
    """The error's text without the address and the context that aiohttp adds."""
    return str(getattr(fault, "os_error", fault)) or type(fault).__name__


def _translated(fault: Exception) -> Error:
    import aiohttp

    text = _text_of(fault)
    if isinstance(fault, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return Error(Code.DENIED, f"TLS: {_no_handshake(fault)}")
    unsent = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ValueError
    if isinstance(fault, unsent):
        return Error(Code.UNAVAILABLE, text)
    return Error(Code.UNKNOWN_OUTCOME, "the connection to the other server broke")
