"""The man pages have the texts of `--help` and pass the linters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docutils.utils import SystemMessage

from sockact.cli.manual import __main__ as manual
from sockact.cli.manual import commands, texts
from sockact.cli.manual.manpage import Page, roff
from sockact.units.render import templates
from tests import ROOT
from tests.support.manual import code, description, entries, help_of, plain, usage, words

DATE = "2026-01-02"
FILES = manual.files(DATE)
PAGES = {name: text for name, text in FILES.items() if name.startswith("man")}
COMMANDS = commands.names()


def page_of(*command: str) -> str:
    return PAGES[f"man1/{'-'.join(('sockact', *command))}.1"]


def test_the_files() -> None:
    commands = [f"man1/sockact-{name}.1" for name in COMMANDS]
    scripts = [f"completions/{name}" for name in ("sockact.bash", "_sockact", "sockact.fish")]
    assert set(FILES) == {"man1/sockact.1", *commands, "man7/sockact.unit.7", *scripts}
    assert set(texts.COMMANDS) == set(COMMANDS)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_the_page_says_what_the_help_says(command: tuple[str, ...]) -> None:
    text, page = help_of(*command), plain(page_of(*command))
    assert usage(text) in page
    for paragraph in description(text)[0 if command else 1 :]:
        assert paragraph.replace("`", "") in page
    options = entries(text, "Options")
    assert any(option.startswith("-h, --help") for option in options)
    for option in options:
        assert option.replace("`", "") in page


def test_the_first_page_has_all_commands() -> None:
    text, page = help_of(), plain(page_of())
    listed = entries(text, "Commands")
    assert [entry.partition(" ")[0] for entry in listed] == COMMANDS
    for entry in listed:
        assert entry.replace("`", "") in page
        assert f"sockact-{entry.partition(' ')[0]}(1)" in page


@pytest.mark.parametrize("name", sorted(PAGES))
def test_each_page_has_its_sections(name: str) -> None:
    lines = PAGES[name].splitlines()
    titles = [line[4:].upper() for line in lines if line.startswith(".SH ")]
    wanted = ["NAME", "DESCRIPTION", "SEE ALSO"]
    if name.startswith("man1"):
        wanted[1:1] = ["SYNOPSIS", "OPTIONS", "EXIT STATUS"]
        wanted.append("EXAMPLES")
    assert set(wanted) <= set(titles)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_each_reference_leads_somewhere(name: str) -> None:
    page = plain(PAGES[name])
    ours = {f"{Path(path).stem}({path[-1]})" for path in PAGES}
    named = set(re.findall(r"sockact[a-z.-]*\([0-9]\)", page))
    assert named <= ours
    assert named


def test_the_settings_of_the_units_page_are_those_of_the_units() -> None:
    files = templates.files()
    units = files["examples/myapp.service"].replace("/usr/bin/sockact", "sockact")
    lines = [*units.splitlines(), *files["examples/myapp.socket"].splitlines()]
    page = PAGES["man7/sockact.unit.7"].replace(r"\-", "-")
    settings = re.findall(r"\\fB([A-Z]\w+=[^\\]+)\\fP", page)
    assert len(settings) > 20
    assert set(settings) <= set(lines)


def test_the_same_at_each_run(folder: Path) -> None:
    texts = []
    for number, seed in enumerate("12"):
        out = folder / str(number)
        subprocess.run(
            [sys.executable, "-m", "sockact.cli.manual", str(out)],
            env={**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": "1767312000"},
            cwd=ROOT,
            check=True,
            timeout=30,
        )
        files = (path for path in out.rglob("*") if path.is_file())
        texts.append({str(path.relative_to(out)): path.read_text() for path in files})
    assert texts[0] == texts[1] == FILES


def test_no_date_without_a_source_for_it() -> None:
    assert manual.date_of("") == ""
    assert re.search(r'1"? +"" "sockact', manual.files()["man1/sockact.1"])


@pytest.mark.parametrize(
    ("arguments", "epoch", "status", "hint"),
    [
        ([], "", 2, "Missing argument"),
        (["out"], "yesterday", 2, "SOURCE_DATE_EPOCH"),
        (["out"], "9" * 30, 2, "SOURCE_DATE_EPOCH"),
        (["/proc/nothing"], "", 1, "cannot write /proc/nothing"),
    ],
)
def test_what_cannot_be_written(
    arguments: list[str], epoch: str, status: int, hint: str, folder: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sockact.cli.manual", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": epoch},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == status
    assert hint in done.stderr
    assert not list(folder.iterdir())


def test_odd_texts_stand_for_themselves() -> None:
    body = r"""
DESCRIPTION
===========

.PP 'quoted' \\fB ~/x^2 "y" `a-b` --some-option … x(5) http://x/

\ .x
    .y

::

    .SH no
    'br
    \e
"""
    page = roff(Page("x", 1, "y", body), "")
    said = r""".PP 'quoted' \fB ~/x^2 "y" a-b --some-option … x(5) http://x/"""
    assert f"{words(said)} .x .y" in plain(page)
    assert r"\fBa\-b\fP \fB\-\-some\-option\fP … \fBx\fP(5)" in page
    assert code(page) == ".SH no\n'br\n\\e\n"


def test_wrong_markup_is_an_error() -> None:
    with pytest.raises(SystemMessage, match="without end-string"):
        roff(Page("x", 1, "y", "an *open end"), "")


def _run(*words: str, page: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, input=page, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_groff_has_nothing_to_say(name: str) -> None:
    # What man(1) calls, with all warnings.
    done = _run(
        "groff", "-ww", "-b", "-z", "-man", "-Kutf8", "-Tutf8", "-rCHECKSTYLE=3", page=PAGES[name]
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_man_has_nothing_to_say(name: str, folder: Path) -> None:
    file = folder / Path(name).name
    file.write_text(PAGES[name])
    done = _run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(file), page="")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_mandoc_has_nothing_to_say(name: str) -> None:
    # Of its style: docutils writes long lines, and since 0.22 titles in small letters.
    done = _run("mandoc", "-T", "lint", "-W", "warning", page=PAGES[name])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not shutil.which("lexgrog"), reason="lexgrog (man-db) is not installed")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_apropos_finds_it(name: str, folder: Path) -> None:
    file = folder / Path(name).name
    file.write_text(PAGES[name])
    done = _run("lexgrog", str(file), page="")
    assert done.stdout.startswith(f'{file}: "{file.stem} - ')
