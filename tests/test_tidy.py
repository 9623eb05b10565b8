"""House rules that no linter knows, as tests: pages that keep up, words that stay out, names that
can be guessed.

That each route and each setting is documented is asked beside them: `tests/routes` and
`tests/unit/config/test_docs.py`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path
from re import _parser

import pytest

from bellcow.cli.tree import TREE, Branch, Leaf
from bellcow.events import EVENTS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "bellcow"
FOLDERS = (".ci", "bench", "docs", "scripts", "src", "tests")
SUFFIXES = {"", ".css", ".html", ".js", ".md", ".py", ".sh", ".svg", ".toml", ".txt", ".yaml"}
# Words of others: a license text, recorded answers.
NOT_OURS = ("LICENSE", "tests/contract/recordings/")

# Modules that have no test file of their own name, and what tests them.
TESTED_BY = {
    "acl/commands.py": "tests/contract/test_http_recordings.py",
    "acl/rights.py": "tests/unit/acl/test_policy.py",  # rules in, rights out
    "acl/validation.py": "tests/unit/acl/test_policy.py",
    "acl/tokens.py": "tests/contract/test_http_rights.py",
    "agent/exposition.py": "tests/unit/agent/test_metrics.py",
    "agent/identity.py": "tests/unit/agent/test_build.py",
    "agent/main.py": "tests/contract/test_cli_process.py",  # process life, seen from outside
    "agent/exposure.py": "tests/contract/test_http_surroundings.py",
    "agent/start.py": "tests/contract/test_cli_process.py",
    "agent/stop.py": "tests/cluster/test_stop.py",
    "api/routes/acl.py": "tests/contract/test_http_recordings.py",
    "api/routes/acl_bootstrap.py": "tests/contract/test_http_recordings.py",
    "api/routes/acl_policies.py": "tests/contract/test_http_recordings.py",
    "api/routes/acl_tokens.py": "tests/contract/test_http_recordings.py",
    "api/routes/agent.py": "tests/contract/test_http_surroundings.py",
    "api/routes/agent_config.py": "tests/contract/test_http_surroundings.py",
    "api/routes/agent_health.py": "tests/contract/test_http_surroundings.py",
    "api/routes/agent_monitor.py": "tests/contract/test_http_surroundings.py",
    "api/pipeline/answers.py": "tests/contract/test_both_paths.py",
    "api/call.py": "tests/contract/test_http_recordings.py",
    "gocompat/sockaddr_functions.py": "tests/unit/gocompat/test_sockaddr.py",
    "gocompat/sockaddr_interfaces.py": "tests/unit/gocompat/test_sockaddr.py",
    "gocompat/sockaddr_networks.py": "tests/unit/gocompat/test_sockaddr.py",
    "gocompat/template_expressions.py": "tests/unit/gocompat/test_template.py",
    "gocompat/template_tokens.py": "tests/unit/gocompat/test_template.py",
    "gocompat/json_reader.py": "tests/unit/gocompat/test_json.py",
    "gocompat/json.py": "tests/contract/test_http_recordings.py",  # many bodies, good and bad
    "api/routes/enterprise.py": "tests/routes/test_refused_paths.py",
    "api/errors.py": "tests/contract/test_http_recordings.py",
    "api/routes/events.py": "tests/routes/test_refused_paths.py",
    "api/pipeline/guards.py": "tests/abuse/rows_http.py",
    "api/routes/jobs.py": "tests/contract/test_http_recordings.py",
    "api/routes/keyring.py": "tests/routes/test_refused_paths.py",
    "api/message.py": "tests/unit/api/http/test_connection.py",
    "api/routes/namespaces.py": "tests/contract/test_http_recordings.py",
    "api/routes/catalog.py": "tests/routes/test_every_route.py",
    "api/routes/operator.py": "tests/contract/test_http_recordings.py",
    "api/routes/operator_raft.py": "tests/contract/test_http_recordings.py",
    "api/pipeline/pipeline.py": "tests/routes/test_every_route.py",
    "api/routes/search.py": "tests/routes/test_search.py",
    "api/routes/agent_self.py": "tests/contract/test_http_surroundings.py",
    "api/routes/status.py": "tests/contract/test_http_surroundings.py",
    "api/routes/system.py": "tests/routes/test_every_route.py",
    "clock.py": "tests/sim/clock.py",  # the virtual one stands in for it everywhere else
    "cluster/lifecycle/assembly.py": "tests/unit/agent/test_build.py",
    "cluster/lifecycle/context.py": "tests/unit/cluster/lifecycle/test_lifecycle.py",
    "cluster/lifecycle/protocol.py": "tests/unit/cluster/lifecycle/test_embedded.py",
    "cluster/peers/leader_state.py": "tests/unit/cluster/peers/test_requests.py",
    "cluster/recovery/temporary_member.py": "tests/cluster/test_found.py",
    "cluster/recovery/convert.py": "tests/cluster/test_found.py",
    "cluster/recovery/rebuild.py": "tests/cluster/test_found.py",
    "cluster/recovery/recover.py": "tests/cluster/test_recover.py",
    "cluster/recovery/offline_state.py": "tests/cluster/test_recover.py",
    "cli/shell/arguments.py": "tests/unit/cli/test_main.py",
    "cli/shell/flags.py": "tests/unit/cli/test_main.py",
    "config/block.py": "tests/unit/config/test_model.py",
    "config/checks/base.py": "tests/unit/config/test_validate.py",
    "config/checks/server.py": "tests/unit/config/test_validate.py",
    "config/convert.py": "tests/unit/config/test_decode.py",
    "config/client_block.py": "tests/unit/config/test_model.py",
    "config/server_block.py": "tests/unit/config/test_model.py",
    "config/telemetry_block.py": "tests/unit/config/test_model.py",
    "errors.py": "tests/routes/test_every_route.py",
    "events.py": "tests/test_tidy.py",
    "failpoint.py": "tests/cluster/test_restore_crash.py",
    "license/built_in.py": "tests/unit/license/test_rules.py",
    "license/signature.py": "tests/unit/license/test_rules.py",
    "license/keeper.py": "tests/contract/test_cli_process.py",
    "model/acl.py": "tests/contract/test_http_recordings.py",  # fields, as they look on the wire
    "model/agent.py": "tests/contract/test_http_recordings.py",
    "model/bounds.py": "tests/unit/model/test_hello.py",
    "model/forwarded.py": "tests/unit/api/internal/test_forward.py",
    "model/namespace.py": "tests/contract/test_http_recordings.py",
    "model/raft.py": "tests/contract/test_http_recordings.py",
    "server.py": "tests/routes/conftest.py",  # a list of parts
    "snapshot/restore.py": "tests/stories/restore.txt",
    "snapshot/save.py": "tests/abuse/rows_snapshots.py",
    "snapshot/service.py": "tests/abuse/rows_snapshots.py",
    "store/etcd_space.py": "tests/unit/cli/commands/operator/raft/test_defrag.py",
    "store/protocol.py": "tests/unit/store/test_conformance.py",
    "wire.py": "tests/contract/test_http_recordings.py",
}

# British spellings, as the part of the word that tells; "cancelled" is Python's own word.
BRITISH = (
    r"artefact|behaviour|catalogue|centre\b|centred|colour|defence\b|favour|fulfil\b|grey\b|honour"
    r"|judgement|labell|learnt|licence|misspelt|modell|neighbour|organis|programme\b|recognis"
    r"|whilst|amongst|analys(e|ed|es|ing)\b|travell(ed|ing)\b|signall"
    r"|(author|capital|custom|emphas|final|general|initial|maxim|minim|normal|optim|priorit"
    r"|serial|special|standard|summar|synchron|util|visual)is(e|ed|es|er|ing|ation)\b"
)
# What is only true on one person's machine, or only of how the text came about.
NOT_FOR_READERS = (
    r"(?<![\w.])/(work|root|home|Users)/\w",
    r"\bshared/",
    r"(?<![\w-])spec/",
    r"\b(pypi\.org|pythonhosted\.org|registry\.npmjs|proxy\.golang|index\.crates)",
)


def texts() -> list[tuple[str, str]]:
    """Every text of the repository that is ours, with its path."""
    files = [each for each in ROOT.iterdir() if each.suffix in SUFFIXES]
    for folder in FOLDERS:
        files.extend((ROOT / folder).rglob("*"))
    found = []
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix()
        ours = path.is_file() and path.suffix in SUFFIXES and not name.startswith(NOT_OURS)
        if ours and "__pycache__" not in name and path.name[0] != ".":
            found.append((name, path.read_text(encoding="utf-8", errors="replace")))
    return found


TEXTS = texts()
PYTHON = [(name, text) for name, text in TEXTS if name.endswith(".py")]
MODULES = sorted(
    path.relative_to(SRC).as_posix()
    for path in SRC.rglob("*.py")
    if path.name != "__init__.py" and "_pb2" not in path.name
)


def found(pattern: str, *, skip: str = "") -> list[str]:
    """Where a pattern occurs, as `file:line: text`."""
    expression = re.compile(pattern, re.IGNORECASE)
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in TEXTS
        if name not in {"tests/test_tidy.py", skip}
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Words


def test_nothing_is_left_to_be_done_later() -> None:
    assert found(r"\b(FIXME|TODO|XXX)\b") == []


@pytest.mark.parametrize("pattern", NOT_FOR_READERS)
def test_no_text_speaks_of_one_machine(pattern: str) -> None:
    assert found(pattern) == []


def test_spelling_is_american() -> None:
    british = re.compile(BRITISH, re.IGNORECASE)
    slips = []
    for name, text in TEXTS:
        if name == "tests/test_tidy.py":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if hit := british.search(line):
                slips.append(f"{name}:{number}: {hit[0]}")
    assert not slips, "\n".join(slips)


def test_the_list_of_spellings_catches_what_it_should() -> None:
    caught = ("behaviour", "initialised", "reorganisation", "Licence", "normalise")
    assert [word for word in caught if not re.search(BRITISH, word, re.IGNORECASE)] == []
    fine = (
        "advertise",
        "raise",
        "promise",
        "otherwise",
        "license",
        "analysis",
        "revised",
        "precise",
    )
    assert [word for word in fine if re.search(BRITISH, word, re.IGNORECASE)] == []


# Words of comments and docstrings

# A sentence that begins with "who" names nothing: "who has led is not away".
HEADLESS = r"\b(who|whom|whoever)\b"
# Words of the household for acts of a server.
HOUSEHOLD = r"\b(anew|papers|seat|sight|told|tell|tells|telling|stands?|business)\b"
MOST_PER_1000_WORDS = 1.0
# What the glossary calls by one name.
DOUBLES = {
    r"\b(server|servers|one|peer)s? without a vote\b": "non-voter",
    r"\bwho(ever)? leads\b": "the leader",
    r"\bthe seat\b": "the lifecycle",
}


def prose_of(text: str) -> str:
    """The docstrings and comments of a module, without directives for tools."""
    tree = ast.parse(text)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    parts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    parts += [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not re.search("noqa|type: ignore", token.string)
    ]
    return "\n".join(parts)


PROSE = "\n".join(prose_of(text) for name, text in PYTHON if name.startswith("src/"))


@pytest.mark.parametrize("pattern", [HEADLESS, HOUSEHOLD], ids=["headless", "household"])
def test_comments_and_docstrings_use_the_words_of_the_field(pattern: str) -> None:
    found_ = Counter(re.findall(pattern, PROSE, re.IGNORECASE))
    share = found_.total() * 1_000 / len(PROSE.split())
    assert share <= MOST_PER_1000_WORDS, f"{share:.2f} per 1,000 words: {found_.most_common()}"


@pytest.mark.parametrize("pattern", DOUBLES)
def test_a_thing_has_the_name_that_the_glossary_gives_it(pattern: str) -> None:
    here = [
        f"{name}:{number}"
        for name, text in TEXTS
        if name != "tests/test_tidy.py" and name.startswith(("src/", "docs/"))
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not here, f"{DOUBLES[pattern]}: {here}"


# Code


def test_every_module_says_what_it_owns() -> None:
    """A test file's own name says what it is about."""
    silent = [
        name
        for name, text in PYTHON
        if not name.startswith("tests/") and text.strip() and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent, "\n".join(silent)


def test_every_exemption_from_a_rule_has_a_reason() -> None:
    bare, reasoned = [], r"#\snoqa: [A-Z]+\d+(, ?[A-Z]+\d+)*  \S"
    for name, text in PYTHON:
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"#\s*noqa", line) and not re.search(reasoned, line):
                bare.append(f"{name}:{number}")
    assert not bare, "\n".join(bare)


def patterns_in(source: str) -> list[str | bytes]:
    """The regular expressions that a module compiles."""
    return [
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "re.compile"
        and isinstance(node.args[0], ast.Constant)
    ]


def is_possessive(pattern: str | bytes) -> bool:
    return any(word in repr(_parser.parse(pattern)) for word in ("POSSESSIVE", "ATOMIC"))


def test_no_expression_is_possessive() -> None:
    """Python 3.11.2, which Debian 12 has, matches too much with a possessive group."""
    (found,) = patterns_in("re.compile('(?:a|b.*?c)*+')")
    assert is_possessive(found)
    assert [
        (path.name, pattern)
        for path in SRC.rglob("*.py")
        for pattern in patterns_in(path.read_text())
        if is_possessive(pattern)
    ] == []


def test_only_the_command_line_prints() -> None:
    printing = []
    for name, text in PYTHON:
        if name.startswith("src/") and not name.startswith("src/bellcow/cli/"):
            calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
            if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
                printing.append(name)
    assert printing == []


@pytest.mark.parametrize("module", MODULES)
def test_the_tests_of_a_module_are_where_one_looks_for_them(module: str) -> None:
    folder, _, name = module.rpartition("/")
    mirrored = ROOT / "tests" / "unit" / folder / f"test_{name}"
    named = TESTED_BY.get(module)
    assert mirrored.is_file() or (named and (ROOT / named).is_file()), mirrored


def test_the_list_of_those_tested_elsewhere_names_nothing_that_is_gone() -> None:
    assert set(TESTED_BY) <= set(MODULES)


# Pages


def test_the_changelog_begins_with_what_is_not_released() -> None:
    headings = re.findall(r"^##+ (.+)$", page("CHANGELOG.md"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", "Added"]
    assert "\n- " in page("CHANGELOG.md").partition("### Added")[2]


def test_every_event_is_documented_with_its_level() -> None:
    text = page("docs/metrics-and-events.md")
    rows = set(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert rows == {(name, event.level.name) for name, event in EVENTS.items()}


def test_every_earlier_event_name_points_to_a_current_one() -> None:
    table = page("docs/metrics-and-events.md").partition("### Names of earlier releases")[2]
    renamed = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", table, re.MULTILINE))
    assert set(renamed.values()) <= EVENTS.keys()
    assert not renamed.keys() & EVENTS.keys()


def test_every_metric_is_documented() -> None:
    measured = set(re.findall(r'"(nomad\.[\w.]+)"', (SRC / "agent/gauges.py").read_text("utf-8")))
    text = page("docs/metrics-and-events.md")
    assert set(re.findall(r"^\| `(nomad\.[\w.]+)` \|", text, re.MULTILINE)) == measured


def commands(branch: Branch, path: str = "bellcow") -> list[str]:
    """The command lines of all commands that help shows."""
    lines = []
    for name, below in branch.below.items():
        if below.hidden:
            continue
        here = f"{path} {name}"
        lines += [here] if isinstance(below, Leaf) else commands(below, here)
    return lines


@pytest.mark.skipif(not (ROOT / "docs/cli.md").exists(), reason="docs/cli.md is not there yet")
@pytest.mark.parametrize("command", commands(TREE))
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"^##+ .*{re.escape(command)}`?$", page("docs/cli.md"), re.MULTILINE)


def linked() -> set[tuple[str, str]]:
    """Every link of a page to a file of the repository."""
    out: set[tuple[str, str]] = set()
    for name, text in TEXTS:
        if name.endswith(".md"):
            targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
            out |= {(name, target) for target in targets}
    return out


@pytest.mark.parametrize(("name", "target"), sorted(linked()))
def test_a_link_leads_somewhere(name: str, target: str) -> None:
    assert ((ROOT / name).parent / target).exists()


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    uneven = []
    for name, text in TEXTS:
        if not name.endswith(".md"):
            continue
        for table in re.findall(r"(?:^\|.*\|$\n?){2,}", text, re.MULTILINE):
            rows = table.splitlines()
            cells = [len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in rows]
            uneven += [
                f"{name}: {r[:80]}" for r, c in zip(rows, cells, strict=True) if c != cells[0]
            ]
    assert uneven == []


def test_every_test_that_the_architecture_names_is_there() -> None:
    tests = "\n".join(text for name, text in PYTHON if name.startswith("tests/"))
    written = re.findall(r"`(test_\w+|\w+\.txt)`", page("docs/architecture.md"))
    stories = {path.name for path in (ROOT / "tests" / "stories").glob("*.txt")}
    gone = [n for n in written if f"def {n}(" not in tests and n not in stories]
    assert len(written) > 40
    assert gone == []


def test_each_test_named_beside_a_finding_exists() -> None:
    named = re.findall(
        r"`(tests/[\w/.-]+)(?:::(\w+))?`", page("docs/design/0012-outside-findings.md")
    )
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and f"def {test}(" not in page(file))
    ]
    assert missing == []
