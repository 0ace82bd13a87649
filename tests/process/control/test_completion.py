"""Completion in real shells, with the scripts that packages install."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from sockact.cli.main import cli
from sockact.cli.manual import completions
from sockact.cli.options import complete
from sockact.supervisor.control import claim, paths
from sockact.units.wrap import service_files
from tests import ROOT
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = completions.files()
PROMPT = "{prompt}"
SET_PROMPT = "PS1='{pro''mpt}'\n"
TO_THE_BEGINNING, TO_THE_END = "\x01", "\x05"

# (what is typed, what the command line becomes)
CASES = [
    ("sockact rol", ["sockact", "rollback"]),
    ("sockact reload ap", ["sockact", "reload", "app1"]),
    ("sockact status --js", ["sockact", "status", "--json"]),
    ("sockact run --adopt nat", ["sockact", "run", "--adopt", "native"]),
    ("sockact run --stop-signal SIGQ", ["sockact", "run", "--stop-signal", "SIGQUIT"]),
    ("sockact run --directory onl", ["sockact", "run", "--directory", "only/"]),
    ("sockact run --name x -- ./serv", ["sockact", "run", "--name", "x", "--", "./server"]),
    # Nothing fits: nothing changes, and nothing is said.
    ("sockact reload nob", ["sockact", "reload", "nob"]),
    ("sockact nonsense x", ["sockact", "nonsense", "x"]),
]


@pytest.fixture
def environment(folder: Path) -> Iterator[dict[str, str]]:
    """Of a shell: two services, of which one runs, and a few files where it works."""
    for name in ("bin", "home", "work/only", "run/app2"):
        (folder / name).mkdir(parents=True)
    (folder / "work" / "server").write_text("")
    command = folder / "bin" / "sockact"
    script = ROOT / "sockact" / "__main__.py"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    command.chmod(0o755)
    for path, text in SCRIPTS.items():
        (folder / Path(path).name).write_text(text)
    held = claim.take(str(folder / "run" / "app1"))
    yield {
        "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home"),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "SOCKACT_RUNTIME_DIR": str(folder / "run"),
    }
    held.release()


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        ours, theirs = pty.openpty()
        self._fd = ours
        self.output = b""
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, wanted: str) -> None:
        """Read until that was written."""
        deadline = time.monotonic() + wait.TIMEOUT
        while wanted.encode() not in self.output:
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {wanted!r}: {self.output!r}"
            if select.select([self._fd], [], [], left)[0]:
                self.output += os.read(self._fd, 4096)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)


@contextlib.contextmanager
def shell(*command: str, environment: dict[str, str], cwd: Path) -> Iterator[Shell]:
    found = Shell([*command], environment, cwd)
    try:
        yield found
    finally:
        found.close()


def completed(found: Shell, typed: str) -> list[str]:
    """The words of the command line after TAB, as the shell itself prints them, each in <>."""
    # At the prompt: zsh does not complete at a TAB that was there before it.
    found.output = b""
    found.type(f"{typed}\t")
    found.type(f"{TO_THE_BEGINNING}printf '<%s>' {TO_THE_END}\n")
    found.wait_for(PROMPT)
    line = next(line for line in found.output.splitlines() if PROMPT.encode() in line)
    return re.findall("<([^<>]*)>", line.decode())


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash(environment: dict[str, str], folder: Path) -> None:
    command = ("bash", "--noprofile", "--norc", "-i")
    with shell(*command, environment=environment, cwd=folder / "work") as bash:
        bash.type(f"bind 'set enable-bracketed-paste off'; source {folder}/sockact.bash\n")
        bash.type(SET_PROMPT)
        bash.wait_for(PROMPT)
        for typed, wanted in CASES:
            assert completed(bash, typed) == wanted, typed


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh(environment: dict[str, str], folder: Path) -> None:
    """As the distributions install it: in a folder of $fpath."""
    with shell("zsh", "-f", "-i", environment=environment, cwd=folder / "work") as zsh:
        zsh.type("unsetopt prompt_sp prompt_cr auto_remove_slash; bindkey -e\n")
        zsh.type(f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; {SET_PROMPT}")
        zsh.wait_for(PROMPT)
        for typed, wanted in CASES:
            assert completed(zsh, typed) == wanted, typed


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish(environment: dict[str, str], folder: Path) -> None:
    for typed, wanted in CASES:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {folder}/sockact.fish; complete -C '{typed}'"],
            env=environment,
            cwd=folder / "work",
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        fits = typed.rpartition(" ")[2] != wanted[-1]
        assert offered == ([wanted[-1]] if fits else []), typed
        assert done.stderr == ""


def test_behind_sudo_the_services_of_the_system_are_offered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell asks as the user, who may not see whether their locks are held."""
    for name in ("SOCKACT_RUNTIME_DIR", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(paths, "SYSTEM_BASE", str(folder))
    for name in ("app1", "app2", ".hidden", "stopped"):
        (folder / name).mkdir()
        if name != "stopped":
            (folder / name / paths.LOCK).write_text("")
    context = click.Context(cli)
    parameter = context.command.params[0]
    assert complete.names(context, parameter, "") == ["app1", "app2"]
    assert complete.names(context, parameter, "app2") == ["app2"]
    shutil.rmtree(folder / "app1")
    monkeypatch.setattr(paths, "SYSTEM_BASE", str(folder / "missing"))
    assert complete.names(context, parameter, "") == []


def test_units(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    units = folder / "systemd" / "user"
    (units / "mine.service.d").mkdir(parents=True)
    (units / "other.service.d").mkdir()
    (units / "mine.service.d" / service_files.DROP_IN).write_text("")
    hostile = (
        "mine\n.service",
        "mi\x1b[2J.service",
        "mi\udcff.service",
        "miné.service",
        "m$(x).service",
    )
    for name in ("mine.service", "many@.service", "mine.socket", *hostile):
        (units / name).write_text("")
    context = click.Context(cli)
    context.params["user_unit"] = True
    parameter = context.command.params[0]
    assert complete.units(context, parameter, "mi") == ["mine.service"]
    assert "many@.service" not in complete.units(context, parameter, "")
    assert complete.wrapped(context, parameter, "") == ["mine.service"]
