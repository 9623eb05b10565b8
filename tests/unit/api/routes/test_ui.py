"""The page's files: what they are served with, and what must not stand in them."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from bellcow.api.routes import ui
from bellcow.errors import Code, Error

PAGE = ui.files()["index.html"].decode()


def asked(name: str) -> ui.Reply:
    return ui.read_file(SimpleNamespace(tail=name))


@pytest.mark.parametrize("name", sorted(ui.files()))
def test_each_file_is_served_with_its_type_and_the_policy(name: str):
    reply = asked(name)
    headers = dict(reply.headers)
    assert reply.encoded == ui.files()[name]
    assert reply.content_type == ui.TYPES[name.rpartition(".")[2]]
    assert headers["Content-Security-Policy"] == (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_folder_is_the_page():
    assert asked("").encoded == asked("index.html").encoded


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "../__init__.py", "..", "index.html/", "INDEX.HTML", "assets/app.js", "a/b.css"],
)
def test_unknown_file_of_the_page_is_not_found(name: str):
    with pytest.raises(Error) as refused:
        asked(name)
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("name", ["jobs", "settings/tokens", "servers/s1.global", "jobs/"])
def test_link_into_the_page_is_answered_with_the_page(name: str):
    reply = asked(name)
    assert (reply.encoded, reply.content_type) == (ui.files()["index.html"], ui.TYPES["html"])


def test_page_has_no_inline_script_or_style():
    for tag, rest, inside in re.findall(r"<(script|style)\b([^>]*)>(.*?)</\1>", PAGE, re.DOTALL):
        assert (tag, inside.strip()) == ("script", "")
        assert "src=" in rest
    assert "<style" not in PAGE
    for name, content in ui.files().items():
        text = content.decode()
        if name.endswith((".html", ".svg")):
            assert not re.search(r"""\s(style|on\w+)\s*=""", text), name
            assert "javascript:" not in text, name


def test_text_of_the_server_never_becomes_markup():
    script = ui.files()["page.js"].decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_the_token_is_kept_for_the_tab_at_most_and_only_when_asked_for():
    script = ui.files()["page.js"].decode()
    assert not re.search(r"localStorage|cookie|indexedDB|location\.(?!origin)|history", script)
    (kept,) = re.findall(r".*sessionStorage\.setItem\(.*", script)
    assert kept.strip().startswith('if (at("keep").checked && token)')


def test_every_file_is_named_from_the_root_and_nothing_comes_from_elsewhere():
    # From the root, because the page is also the answer to paths below its folder.
    script = ui.files()["page.js"].decode()
    named = set(re.findall(r'(?:src|href)="/ui/([^"/]+\.\w+)"', PAGE))
    named |= set(re.findall(r'"(?:/ui|\.)/([^"/]+\.\w+)"', script))
    assert not re.search(r'(?:src|href)="[^"/#]', PAGE)
    assert named | {"index.html"} == set(ui.files())
    for name, content in ui.files().items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), name


def test_every_element_that_the_script_looks_for_is_in_the_page():
    script = ui.files()["page.js"].decode()
    looked_for = set(re.findall(r'\b(?:at|setText)\("([\w-]+)"', script))
    assert looked_for <= set(re.findall(r'\bid="([\w-]+)"', PAGE))


def test_everything_together_is_small():
    assert sum(map(len, ui.files().values())) < 60_000
