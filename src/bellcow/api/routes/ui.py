"""The web page: static files and nothing else."""

from __future__ import annotations

import functools
from importlib import resources

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.errors import not_found

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGE = "index.html"
POLICY = (
    "default-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
)
HEADERS = (
    (
        "Content-Security-Policy",
        "; ".join(POLICY),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-cache"),
)


@functools.cache
def files() -> dict[str, bytes]:
    """The page's files by name; the folder is read once."""
    folder = resources.files("bellcow") / "ui"
    return {
        entry.name: entry.read_bytes() for entry in folder.iterdir() if _ending(entry.name) in TYPES
    }


@route(
    "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
    "/",
    need=Need.ANONYMOUS,
    serve=Serve.LOCAL,
    token=False,
    documented=False,
)
def redirect_to_page(call: Call) -> Reply[None]:
    """Nomad: the root leads to the page, whatever the method: load balancers ask with OPTIONS."""
    del call
    return Reply(
        status=307,
        encoded=b'<a href="/ui/">Temporary Redirect</a>.\n\n',
        content_type="text/html; charset=utf-8",
        headers=(("Location", "/ui/"),),
    )


@route(
    "GET, HEAD",
    "/ui/{name}",
    need=Need.ANONYMOUS,
    serve=Serve.LOCAL,
    token=False,
    documented=False,
)
def read_file(call: Call) -> Reply[None]:
    """A file of the page by its name, or the page itself for a path below it.

    Nomad: a link into its page, such as `/ui/servers/s1.global`, is answered with the page.

    Raises:
        not_found: the name is that of a file, and there is none.
    """
    name = call.tail
    content = files().get(name)
    if content is None and _is_file(name):
        raise not_found("no such file")
    if content is None:
        name, content = PAGE, files()[PAGE]
    return Reply(encoded=content, content_type=TYPES[_ending(name)], headers=HEADERS)


def _is_file(name: str) -> bool:
    """Whether the name is that of a file: the page in place of a missing script would hide it."""
    return "." in name.partition("/")[0] or _ending(name) in TYPES


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
