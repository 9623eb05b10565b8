"""The HTTP client of every command: requests to one server, and their errors.

Only a GET is ever sent twice. Importing this module imports urllib3, which takes time: commands
import it inside their bodies.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

import msgspec
import urllib3
import urllib3.exceptions as urllib3_errors
from urllib3.util import Retry, Timeout

from bellcow.cli.shell import hints
from bellcow.cli.shell.connection import (
    CONNECT_S,
    check_tls_files,
    connection_pool,
    default_port,
    shown_address,
    socket_path,
    split_address,
)
from bellcow.cli.shell.errors import RequestError
from bellcow.cli.shell.network_errors import network_reason
from bellcow.cli.shell.output import one_line, saying_after
from bellcow.cli.shell.settings import DEFAULT_ADDRESS
from bellcow.wire import UNDECODABLE, join_host_port, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3.response import BaseHTTPResponse

    from bellcow.cli.shell.settings import Settings

WAIT_S = 1.5  # a server may be waiting for a leader; after this long the user sees a remark
READ_S = 330.0  # longer than the longest wait of a blocking query
_AGAIN = Retry(total=1, connect=0, read=1, redirect=0, status=0, other=0)
_CHUNK = 64 * 1024


class Answer:
    """The answer of a server: status, headers, and the body, which may still be unread."""

    def __init__(self, response: BaseHTTPResponse, url: str) -> None:
        self.response = response
        self.url = url

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers

    def body(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            RequestError: the connection broke.
        """
        try:
            yield from self.response.stream(_CHUNK, decode_content=True)
        except (urllib3_errors.HTTPError, OSError) as error:
            raise RequestError(network_reason(error, "")) from error
        finally:
            self.response.release_conn()

    def json(self) -> Any:
        body = self.body()
        try:
            return msgspec.json.decode(body)
        except UNDECODABLE as error:
            raise RequestError(
                f"the answer of {self.url} is not JSON: {undecodable(error)}"
            ) from error


class Client:
    """Requests to one server, each with the common parameters. May raise RequestError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.parts = split_address(settings.address)
        self.address = shown_address(self.parts)
        check_tls_files(settings)
        self.pool = connection_pool(self.parts, settings)

    def get(self, path: str, **query: str) -> Any:
        """The decoded JSON of a GET."""
        return self.request("GET", path, query=query).json()

    def put(self, path: str, body: Any = None, **query: str) -> Any:
        """The decoded JSON of a PUT's answer; None when it is empty."""
        data = None if body is None else msgspec.json.encode(body)
        answer = self.request("PUT", path, query=query, body=data).body()
        return msgspec.json.decode(answer) if answer else None

    def delete(self, path: str, **query: str) -> None:
        self.request("DELETE", path, query=query).body()

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The whole address of a request, as errors show it."""
        return self.address + self.target(path, query)

    def target(self, path: str, query: Mapping[str, str] | None = None) -> str:
        common = {"namespace": self.settings.namespace, "region": self.settings.region}
        merged = {name: value for name, value in common.items() if value} | dict(query or {})
        if not merged:
            return path
        separator = "&" if "?" in path else "?"
        return f"{path}{separator}{urlencode(sorted(merged.items()))}"

    def request(
        self,
        method: str,
        path: str,
        *,
        accept: frozenset[int] = frozenset({200}),
        **sent: Any,
    ) -> Answer:
        """As `send`, for the statuses that the caller expects.

        Raises:
            RequestError: there is no answer, or its status is not in `accept`; then it has the
                server's text.
        """
        answer = self.send(method, path, **sent)
        if answer.status in accept:
            return answer
        text = answer.body().decode("utf-8", "replace")
        reason = one_line(answer.headers.get("X-Bellcow-Reason", ""))
        raise RequestError(
            f"Unexpected response code: {answer.status} ({text})",
            status=answer.status,
            body=text,
            hint=self._hint(answer.status, text, reason),
            reason=reason,
        )

    def _hint(self, status: int, text: str, reason: str) -> str:
        """What the user can do; `reason` is the server's own explanation of a missing leader."""
        if "No path to region" in text:
            return hints.of_regions(self._regions())
        hint = hints.of_answer(status, text, token_sent=bool(self.settings.token))
        return "\n".join(filter(None, (reason, hint)))

    def _regions(self) -> list[str]:
        """The regions that the server lists; none if the request fails."""
        here = Client(dataclasses.replace(self.settings, region=""))
        try:
            regions: list[str] = here.send("GET", "/v1/regions").json()
        except RequestError:
            return []
        return regions

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = READ_S,
    ) -> Answer:
        """One request, whatever its status.

        `read_s` is the longest wait for the next piece of the answer in seconds; None has no limit.

        Raises:
            RequestError: there is no answer.
        """
        target = self.target(path, query)
        shown = f'{method.capitalize()} "{self.address}{target}"'
        try:
            with saying_after(WAIT_S, f"Waiting for {self.address} ..."):
                response = self.pool.urlopen(
                    method,
                    target,
                    body=body,
                    headers={**self.headers(), **(headers or {})},
                    retries=_AGAIN if method == "GET" else False,
                    redirect=False,
                    timeout=Timeout(connect=CONNECT_S, read=read_s),
                    preload_content=False,
                    decode_content=False,
                )
        except (urllib3_errors.HTTPError, OSError) as error:
            reason = network_reason(error, self.where())
            default = self.address == DEFAULT_ADDRESS
            raise RequestError(
                f"{shown}: {reason}", hint=hints.of_failure(reason, self.address, default=default)
            ) from error
        return Answer(response, self.address + target)

    def headers(self) -> dict[str, str]:
        headers = {"User-Agent": "bellcow"}
        if self.settings.token:
            headers["X-Nomad-Token"] = self.settings.token
        auth = self.settings.http_auth or unquote(self.parts.netloc.rpartition("@")[0])
        if auth:
            headers |= urllib3.make_headers(basic_auth=auth)
        return headers

    def where(self) -> str:
        """The dialed address, as Go names it."""
        if self.parts.scheme == "unix":
            return f"unix {socket_path(self.parts)}"
        host, port = self.parts.hostname, self.parts.port or default_port(self.parts.scheme)
        return f"tcp {join_host_port((host, port))}"
