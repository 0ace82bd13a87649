"""Lines of unit files that cannot be read: what `check` and `wrap` say is no traceback."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path

# Stands for systemctl(1): it knows web.service, and web.socket for `check`.
SYSTEMCTL = """#!/bin/sh
case "$*" in
*--version*) echo systemd 257 ;;
*" cat "*web.service) cat {0}/web.service ;;
*" show "*web.service) cat {0}/shown ;;
*" show "*web.socket) cat {0}/socket ;;
esac
"""
SHOWN = """LoadState=loaded
Id=web.service
ActiveState=inactive
Type=simple
FragmentPath={0}/web.service
"""
SOCKET = "LoadState=loaded\nId=web.socket\nListen=/run/web.sock (Stream)\n"
START = "/usr/bin/sockact run --name web -- /bin/true"


@pytest.mark.parametrize(
    ("words", "lines", "said"),
    [
        ("wrap --dry-run --listen 1", "ExecStart=/bin/true\nExecStop=/bin/kill 'x", ""),
        ("check", f"ExecStart={START}\nEnvironment=A='x", ""),
        ("check", f"ExecStart={START}\nExecStartPre=$CLEAN_UP", ""),
        ("check", 'ExecStart=/bin/true $A\nEnvironment="A=it\'s"', ""),
        ("check", "ExecStart=/bin/true 'x", "web.service: ExecStart=: unterminated quote in: "),
        ("wrap --dry-run --listen 1", "ExecStart=-", "ExecStart=- names no program; write its"),
        ("wrap --dry-run --listen 1", "ExecStart=/bin/true 'x", "write the missing ', or"),
        ("wrap --dry-run --listen 1", 'ExecStart="/bin/a\\x01"', "'a\\x01' cannot be written in"),
    ],
)
def test_a_line_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, lines: str, said: str
) -> None:
    (folder / "systemctl").write_text(SYSTEMCTL.format(folder))
    (folder / "systemctl").chmod(0o755)
    (folder / "shown").write_text(SHOWN.format(folder))
    (folder / "socket").write_text(SOCKET if words == "check" else "LoadState=not-found\n")
    (folder / "web.service").write_text(f"[Service]\n{lines}\n")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    command, *options = words.split()
    done = subprocess.run(
        [*SOCKACT, command, "web", *options], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    if not said:
        assert done.stderr == ""
        assert "web.service: " in done.stdout
    else:
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
