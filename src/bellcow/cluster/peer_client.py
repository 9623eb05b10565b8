"""Calls to other servers over HTTP: one session, POST only.

A PUT or DELETE would be sent a second time when a kept connection breaks, a POST is not. It signs
what it sends and believes only what is signed; what is said is not its business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bellcow.cluster.wire_auth import HEADER
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from bellcow.cluster.calls import Target
    from bellcow.cluster.wire_auth import Secret

ANSWER_BYTES = 16 << 20
WORDS = 300  # characters of a refusal that are worth telling
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
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp

        local = (self._source, 0) if self._source else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, local_addr=local),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # who calls sets the limit
        )
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

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

    async def _send(
        self, target: Target, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, str | None]:
        """Status, body and proof of the answer."""
        if self._session is None:
            raise Error(Code.UNAVAILABLE, "the client is closed")
        async with self._session.post(
            self._url(target, path),
            data=body,
            headers=headers,
            ssl=self._tls or True,
            server_hostname=self._name_of(target),
            allow_redirects=False,
        ) as response:
            answer = await _read(response)
            return response.status, answer, response.headers.get(HEADER)

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
