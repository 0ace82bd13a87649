"""Each `sockact init` that README.md and docs/ print writes its units, and warns of nothing."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.support import markdown
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINES = [
    pytest.param(words, id=f"{path.parent.name}/{path.name} {number}")
    for path in PAGES
    for number, line in enumerate(markdown.command_lines(path.read_text()))
    for words in markdown.sockact_words(line)
    if words[0] == "init"
]


def test_there_is_one_for_each_server() -> None:
    assert len(LINES) > len(list((ROOT / "docs" / "servers").glob("*.md")))


@pytest.mark.parametrize("words", LINES)
def test_the_units(words: list[str], folder: Path) -> None:
    here = [moved(word, folder) for word in words]
    options, program = here[: here.index("--")], here[here.index("--") + 1 :]
    executable = folder / "bin" / program[0] if "/" not in program[0] else folder / program[0]
    make(executable)
    for position, option in enumerate(options):
        if option == "--directory":
            (folder / options[position + 1]).mkdir(parents=True, exist_ok=True)
        if option == "--user":
            options[position + 1] = pwd.getpwuid(os.geteuid()).pw_name
    (folder / "sockact").mkdir()
    make(folder / "sockact" / "sockact")
    done = subprocess.run(
        [*SOCKACT, *options, "--dry-run", "--", *program],
        env={**os.environ, "PATH": f"{folder}/bin:{folder}/sockact:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    # An address of the program's command line that no --listen has would be warned of.
    assert (done.returncode, done.stderr) == (0, "")
    start = next(line for line in done.stdout.splitlines() if line.startswith("ExecStart="))
    assert str(executable) in start
    assert shlex.join(program[-1:]).strip("'") in start


def moved(word: str, folder: Path) -> str:
    """A path of the documents as one of this test's."""
    return f"{folder}{word}" if word.startswith(("/srv/", "/opt/")) else word


def make(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
