"""README.md and docs/ agree with the command line: every command and option that they name."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from sockact.cli.main import cli
from sockact.cli.manual import commands, pages, reference
from tests import ROOT
from tests.servers import zoo
from tests.servers.commands import Address
from tests.support import markdown
from tests.support.manual import code

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = ROOT
MANUAL = pages.files("")
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SERVERS = sorted(set((ROOT / "docs" / "servers").glob("*.md")))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
FILE = re.compile(r"(?:sockact|tests|bench|units|packaging|debian)/[\w./@-]*")
# Options of other programs that README.md and the mechanism pages name.
OTHERS = {
    *("--dist", "--pdb"),  # pytest's
    "--quick",  # of bench.measure
    *("--user", "--property", "--system-call-filter"),  # systemd's
    *("--init", "--cap-add", "--stop-timeout", "--signal"),  # docker's
    *("--bind", "--host", "--port", "--uds", "--fd", "--pid", "--daemon"),  # servers'
    *("--http-socket", "--noreload", "--workers"),
    *("--no-dereference", "--pedantic", "--display-info"),  # chown's, lintian's
}
# The command that prints the options of each server, by page.
GUNICORN, UVICORN = ["gunicorn", "--help"], ["uvicorn", "--help"]
DAPHNE = ["daphne", "--help"]
ASK = {
    "gunicorn": [GUNICORN],
    "uvicorn": [UVICORN],
    "hypercorn": [["hypercorn", "--help"]],
    "waitress": [["waitress-serve", "--help"]],
    "granian": [["granian", "--help"]],
    "daphne": [DAPHNE],
    "sanic": [["sanic", "--help"]],
    "twisted": [["twistd", "--help"]],
    "puma": [["puma", "--help"]],
    "php-fpm": [["php-fpm", "--help"]],
    "uwsgi": [["uwsgi", "--help"]],
    "python": [["python", "-m", "http.server", "--help"]],
    "django": [["django-admin", "help", "runserver"], GUNICORN, UVICORN, DAPHNE],
    "flask": [["python", "-m", "flask", "run", "--help"]],
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, f"there is no `sockact {name}`"
    return found


@cache
def options() -> frozenset[str]:
    """All options of sockact."""
    found = [cli, *map(command, commands.names())]
    params = [
        p for one in found for p in one.get_params(click.Context(one, **one.context_settings))
    ]
    return frozenset(word for param in params for word in param.opts)


def check(words: Sequence[str], *, whole: bool = True) -> None:
    """Raises click's errors for a command line that sockact would refuse; runs nothing.

    One that is not whole may lack what is required, and the value of its last option.
    """
    if not words or words[0].startswith("-"):
        assert set(words) <= options() | {"--"}, words
        return
    name, *arguments = words
    found = command(name)
    context = click.Context(found, info_name=name, **found.context_settings)
    if not whole and arguments and arguments[-1] in options():
        context.resilient_parsing = True
    given, rest, _ = found.make_parser(context).parse_args(arguments)
    assert not rest, f"{words}: too many words"
    for param in found.get_params(context):
        value = given.get(param.name or "")
        there = isinstance(value, str | list | tuple) and bool(value)
        needed = param.required or param.name == "program"
        if name == "init":
            # Each setting is either in the file or on the command line.
            needed = param.name in ("name", *(() if given.get("config") else ("listen", "program")))
        assert there or not (whole and needed), f"{words}: {param.name} is missing"
        if there and not isinstance(param.type, click.Path):
            param.process_value(context, value)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_command_line_can_be_given(path: Path) -> None:
    text = path.read_text()
    for line in markdown.command_lines(text):
        for words in markdown.sockact_words(line):
            check(words)
    for span in markdown.spans(text):
        for words in markdown.sockact_words(span):
            check(words, whole=False)


@pytest.mark.parametrize("name", sorted(MANUAL))
def test_each_command_line_of_the_manual_can_be_given(name: str) -> None:
    lines = code(MANUAL[name]).replace("\\\n", " ").splitlines()
    for line in lines:
        for words in markdown.sockact_words(line):
            check(words)


@pytest.mark.parametrize(
    "words",
    [
        *(["relod"], ["--nonsense"], ["run", "--nam", "x"], ["run", "--trial", "soon", "a"]),
        *(["run", "--name", "x"], ["init", "x", "--", "a"], ["stop", "a", "b"]),
    ],
)
def test_a_wrong_command_line_would_be_found(words: list[str]) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        check(words)


def test_the_list_of_options_is_up_to_date() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    assert text == reference.text(), "write it anew: make docs"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_option_exists(path: Path) -> None:
    """Also those of the servers, if they are installed."""
    named = {o for span in markdown.spans(path.read_text()) for o in OPTION.findall(span)}
    unknown = named - options()
    if path not in SERVERS or path.stem == "README":
        unknown -= OTHERS
    if path in SERVERS and unknown:
        unknown -= used_by_the_zoo()
        asked = "\n".join(map(answer, ASK.get(path.stem, [])))
        unknown -= set(OPTION.findall(asked))
    assert not unknown


def used_by_the_zoo() -> set[str]:
    address = Address("127.0.0.1", 8000)
    lines = (" ".join(server.command(address)) for server in zoo.SERVERS)
    return {option for line in lines for option in OPTION.findall(line)}


def answer(command_line: list[str]) -> str:
    """The help of a server; skips the test if it is not installed."""
    program, *arguments = command_line
    found = shutil.which(program, path=zoo.search_path())
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [found, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_link_leads_to_a_file(path: Path) -> None:
    for target in markdown.links(path.read_text()):
        if "://" not in target and target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_file_of_the_repository_exists(path: Path) -> None:
    for span in markdown.spans(path.read_text()):
        if FILE.fullmatch(span):
            assert (ROOT / span).exists(), span


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in markdown.links(index.read_text())}
    pages_of_servers = set(SERVERS) - {ROOT / "docs" / "servers" / "README.md"}
    assert linked == set(DOCUMENTS) - pages_of_servers - {index}


def test_each_server_has_a_page_and_readme_names_it() -> None:
    listed = (ROOT / "docs" / "servers" / "README.md").read_text()
    linked = {Path(target).name for target in markdown.links(listed)}
    for path in SERVERS:
        if path.stem != "README":
            assert path.name in linked
            assert f"docs/servers/{path.name}" in markdown.links(README), path.name


@pytest.mark.parametrize("path", [p for p in SERVERS if p.stem != "README"], ids=name_of)
def test_a_page_has_the_facts_of_the_zoo(path: Path) -> None:
    text = path.read_text()
    listed = (ROOT / "docs" / "servers" / "README.md").read_text()
    rows = [row for row in markdown.table(listed, "server") if f"({path.name})" in row[0]]
    assert rows
    for row in rows:
        assert row[1] in text, f"{row[0]}: its gate is {row[1]}"
        assert row[2].strip("`") in text, f"{row[0]}: its kept connections: {row[2]}"
    assert any(map(markdown.sockact_words, markdown.command_lines(text))), "how it is started"


def test_readme_says_what_is_lost_and_with_which_server() -> None:
    losing = {name for name, _, kept, *_ in map(_cells, zoo.SERVERS) if kept == zoo.CANNOT}
    rows = markdown.table(README, "server")
    told = next(row[0] for row in rows if "never idle" in row[1])
    assert {word.lower() for word in re.findall(r"\[(\w+)\]", told)} == losing


def _cells(server: zoo.Server) -> tuple[str, str, str]:
    return server.name, server.gate.value, server.keep_alive


def test_each_test_of_the_security_page_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    known = {name for text in sources for name in re.findall(r"def (test_\w+)", text)}
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 30
    assert named <= known
