"""The HTTP client of every command: requests to one server, and their errors.

Error texts are those of Go's client up to the operating system's part, because scripts match on
them. Nothing but GET is ever sent twice. urllib3 is imported with this module, `ssl` contexts are
made only for https; commands import this module inside their bodies.
"""

from __future__ import annotations

import dataclasses
import errno
import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec
import urllib3
import urllib3.connection
import urllib3.exceptions as urllib3_errors
from urllib3.util import Retry, Timeout

from bellcow.cli.shell import hints
from bellcow.cli.shell.errors import CommandError, RequestError, opening, os_text
from bellcow.cli.shell.output import one_line, saying_after
from bellcow.cli.shell.settings import DEFAULT_ADDRESS
from bellcow.config.tls import trust_as_go_does
from bellcow.wire import UNDECODABLE, join_host_port, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3.response import BaseHTTPResponse

    from bellcow.cli.shell.settings import Settings

CONNECT_S = 30.0
WAIT_S = 1.5  # after which a person is told that the command waits: a server looks for a leader
READ_S = 330.0  # longer than the longest wait of a blocking query
_AGAIN = Retry(total=1, connect=0, read=1, redirect=0, status=0, other=0)
_CHUNK = 64 * 1024


class UnixConnection(urllib3.connection.HTTPConnection):
    """HTTP over a socket in the file system."""

    path = ""

    def _new_conn(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise urllib3_errors.NewConnectionError(self, str(error)) from error
        return sock


class Answer:
    """What came back: status, headers, and the body, read or still to be read."""

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
        """The body as it arrives."""
        try:
            yield from self.response.stream(_CHUNK, decode_content=True)
        except (urllib3_errors.HTTPError, OSError) as error:
            raise RequestError(_reason(error, "")) from error
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
    """Requests to one server, with the common parameters on each."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.parts = _split(settings.address)
        self.address = _shown(self.parts)
        _check_tls_files(settings)
        self.pool = _pool(self.parts, settings)

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
        """As `send`, but a status outside `accept` is an error with the server's own words."""
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
        """What to do; `reason` is what the server itself says about a missing leader."""
        if "No path to region" in text:
            return hints.of_regions(self._regions())
        hint = hints.of_answer(status, text, token_sent=bool(self.settings.token))
        return "\n".join(filter(None, (reason, hint)))

    def _regions(self) -> list[str]:
        """The regions that the server knows; none when it does not say."""
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
        """One request, whatever its status; `read_s` None waits for ever between two pieces."""
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
            reason = _reason(error, self.where())
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
        """What is dialed, as Go names it."""
        if self.parts.scheme == "unix":
            return f"unix {_socket_path(self.parts)}"
        host, port = self.parts.hostname, self.parts.port or _default_port(self.parts.scheme)
        return f"tcp {join_host_port((host, port))}"


def _split(address: str) -> Any:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise CommandError(
            f"Error initializing client: invalid address '{address}': {error}"
        ) from error
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise CommandError(f"Error initializing client: invalid address '{address}': no host in it")
    return parts


def _shown(parts: Any) -> str:
    """Scheme, host and port alone: the API always is at the root, and a password is not shown."""
    where = _socket_path(parts) if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{where}"


def _socket_path(parts: Any) -> str:
    return f"{parts.netloc}{parts.path}"


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _check_tls_files(settings: Settings) -> None:
    """Refuse TLS files that cannot be used, whatever the scheme, as the reference does."""
    if bool(settings.client_cert) != bool(settings.client_key):
        raise CommandError(
            "Error initializing client: Both client cert and client key must be provided"
        )
    for what, path in (
        ("Error loading CA File: ", settings.ca_cert),
        ("Error loading CA Path: ", settings.ca_path if not settings.ca_cert else ""),
        ("", settings.client_cert),
        ("", settings.client_key),
    ):
        if path and not os.access(path, os.R_OK):
            code = errno.EACCES if Path(path).exists() else errno.ENOENT
            problem = opening(OSError(code, os.strerror(code)), path)
            raise CommandError(f"Error initializing client: {what}{problem}")


def _pool(parts: Any, settings: Settings) -> urllib3.HTTPConnectionPool:
    if parts.scheme == "unix":
        pool = urllib3.HTTPConnectionPool("localhost")
        connection = type("Connection", (UnixConnection,), {"path": _socket_path(parts)})
        pool.ConnectionCls = connection
        return pool
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(parts.hostname or "", parts.port or 80)
    if parts.scheme == "https":
        return urllib3.HTTPSConnectionPool(
            parts.hostname or "",
            parts.port or 443,
            ssl_context=_context(settings),
            server_hostname=settings.tls_server_name or parts.hostname,
            assert_hostname=False if settings.tls_skip_verify else None,
        )
    raise CommandError(
        f'Error initializing client: unsupported protocol scheme "{parts.scheme}" in '
        f"'{settings.address}': use http://, https:// or unix://"
    )


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=settings.ca_cert or None,
            capath=settings.ca_path or None if not settings.ca_cert else None,
        )
        trust_as_go_does(context)
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert, settings.client_key)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"Error initializing client: cannot use the TLS files: {error}"
        ) from error
    if settings.tls_skip_verify:
        # Whoever asks for this has been told; a warning before every answer helps nobody.
        urllib3.disable_warnings(urllib3_errors.InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# OpenSSL's numbers for a certificate whose authority is not trusted.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_AUTHORITY_HINT = "; -ca-cert, or BELLCOW_CACERT, names the authority that signed the server"


def _reason(error: BaseException, where: str) -> str:
    """What went wrong below HTTP, in Go's words where they are known."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, urllib3_errors.NameResolutionError | socket.gaierror):
            host = where.removeprefix("tcp ").rsplit(":", 1)[0]
            return f"dial tcp: lookup {host}: no such host"
        if type(cause) is urllib3_errors.ConnectTimeoutError:
            return f"dial {where}: i/o timeout"
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = _AUTHORITY_HINT if cause.verify_code in _UNKNOWN_AUTHORITY else ""
            return f"x509: {cause.verify_message}{hint}"
        if isinstance(cause, ssl.SSLError):
            return _tls_reason(cause)
        if isinstance(cause, urllib3_errors.ReadTimeoutError):
            return "i/o timeout: the server took the request and did not answer"
    connecting = any(isinstance(cause, urllib3_errors.NewConnectionError) for cause in chain)
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno:
            return f"dial {where}: connect: {os_text(cause)}" if connecting else os_text(cause)
    if any(isinstance(cause, http.client.RemoteDisconnected) for cause in chain):
        return "EOF"
    if any(isinstance(cause, http.client.IncompleteRead) for cause in chain):
        return "unexpected EOF"
    return str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "http: server gave HTTP response to HTTPS client"
    return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it wraps, and what that wraps."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        args = [one for one in error.args if isinstance(one, BaseException)]
        error = inner or error.__cause__ or (args[0] if args else None) or error.__context__
