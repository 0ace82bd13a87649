"""The short ways without click: `sockact run` reads what click reads, or leaves it to click."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.cli import shortcut
from sockact.cli.starting import plain
from tests import ROOT
from tests.unit.cli.test_cli import settings_of

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = [
    "a",
    "-- a -b --name c",
    "--name web --listen 127.0.0.1:8000 --listen x=/run/x.sock -- gunicorn app:app",
    "--listen=[::1]:80 --adopt shim --ready notify python3 -m http.server",
    "--adopt=native --ready=interest -- python3 -u -Wx -mhttp.server 80",
    "--lanes auto --move-connections on --listen 80 a",
    "--start-timeout 1min --drain-timeout 2h --quiet-after 1min --kill-timeout 0 a",
    "--start-limit-interval 5min --watch-delay 0 --watch-pause '1min 30s' a",
    "--stop-signal quit --reopen-signal USR1 --identifier web a",
    "--directory / --log /tmp/x.log --log-stderr ./e.log a",
    "--identifier '' --listen '' a",
]
LEFT = [
    "",
    "--",
    "--help",
    "--name a",
    "--name",
    "--nonsense a",
    "--name ../a a",
    "--adopt magic a",
    "--ready http://localhost/ a",
    "--start-timeout 0 a",
    "--drain-timeout infinity a",
    "--stop-signal KILL a",
    "--reopen-signal TERM a",
    "--log / a",
    "--directory /nowhere a",
    "--name a --name b a",
    "--trial 5 a",
    "--config web",
    "'./my app'",
]


@pytest.mark.parametrize("line", PLAIN)
def test_both_ways_read_the_same(line: str) -> None:
    words = shlex.split(line)
    found = plain.parse(words)
    assert found is not None
    assert found == settings_of(*words)


@pytest.mark.parametrize("line", LEFT)
def test_anything_else_is_left_to_click(line: str) -> None:
    assert plain.parse(shlex.split(line)) is None


def test_each_option_is_tried() -> None:
    tried = {word.partition("=")[0] for line in PLAIN for word in shlex.split(line)}
    assert {*plain.OPTIONS} <= tried


def test_the_logical_directory_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    found = plain.parse(["a"])
    assert found is not None
    assert found.directory == str(tmp_path / "current")


def test_click_is_not_loaded() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import sockact.cli.starting.plain; "
        "print('click' in sys.modules, 'typing' in sys.modules)"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("command", shortcut.FLAGS)
def test_a_short_call_loads_nothing_that_takes_longer_than_the_call(command: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import sockact.cli.shortcut; "
        f"import sockact.cli.calls.{command}; print(*sys.modules)"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    slow = {"click", "contextlib", "enum", "functools", "json", "re", "shlex", "socket", "typing"}
    assert slow.isdisjoint(done.stdout.split())
