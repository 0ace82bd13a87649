"""The short way of simple calls: without click, and yet as the long way, message by message."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

from sockact.cli import shortcut
from sockact.cli.main import cli
from sockact.supervisor.control import interface, varlink
from tests import ROOT
from tests.process.control.bench import FAILED, HANDOVER
from tests.process.control.running import Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSERT = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
LONG = "import sys; from sockact.cli.main import main; main(sys.argv[1:])"
LOADS = """
import sys
from sockact.cli.shortcut import perform
status = perform(sys.argv[1:])
print(status, *sys.modules, file=sys.stderr)
"""
INTO_FULL = (
    "import os, sys; os.dup2(os.open('/dev/full', 1), 1); os.execv(sys.argv[1], sys.argv[1:])"
)
INTO_CLOSED = """
import os, subprocess, sys
reader, writer = os.pipe()
os.close(reader)
print(subprocess.run(sys.argv[1:], stdout=writer).returncode, file=sys.stderr)
"""
INTERRUPTED = """
import os, signal, threading
from sockact.cli import shortcut
from sockact.supervisor.control.client import Client
def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(10)
Client.call = interrupt
shortcut.perform(sys.argv[1:])
"""
# What the long way loads, or is slow to load.
UNWANTED = {
    *("click", "typing", "dataclasses", "inspect", "importlib.metadata", "psutil", "difflib"),
    *("asyncio", "subprocess", "threading", "signal", "logging", "shutil", "tempfile", "hashlib"),
    *("sockact.cli.main", "sockact.core.settings", "sockact.core.lifecycle"),
    *("sockact.supervisor.control.server", "sockact.units.manager"),
}
USED = re.compile(r"memory [\d.]+ MiB, CPU [\d.]+ s|\"(?:memory_bytes|cpu_seconds)\": [\d.]+")
SIMPLE = [
    "reload app",
    "reload --json app",
    "reload app --wait-drained --force",
    "reload --canary-background app",
    "reload --timeout 5s app",
    "reload",
    "status app",
    "status --json app",
    "rollback app",
    "rotate app",
    "list",
    "list --json",
    "reload nope",
    "status nope",
    "stop --now nope",
    "rotate --timeout 1min nope",
]
OTHERS = [
    "",
    "-h",
    "--version",
    "nonsense",
    "status",
    "status --watch nope",
    "status --help",
    "status app other",
    "status .app",
    "status app --jsn",
    "status --force app",
    "stop --json app",
    "reload --wait-drained --canary-background app",
    "reload --timeout",
    "reload --timeout 0 app",
    "reload --timeout 8d app",
    "reload --timeout=5s app",
    "reload -- app",
    "rotate --timeout soon app",
    "list app",
    "history app",
]


@pytest.fixture
def app(folder: Path) -> Iterator[Running]:
    app = Running(folder, "app")
    app.service.at_once = ({**HANDOVER, "rollback": True}, True)
    yield app
    app.close()


def run(app: Running, *command: str, **environ: str) -> tuple[int, str, str]:
    """A command while the service answers."""
    base = str(app.directory.parent)

    def work() -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "SOCKACT_RUNTIME_DIR": base, "COLUMNS": "80", **environ},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, USED.sub("used", done.stdout), done.stderr

    return app.meanwhile(work)


def both(app: Running, line: str, **environ: str) -> list[tuple[int, str, str]]:
    """By the command, which chooses its way, and on the long way."""
    words = line.split()
    ways = (["-m", "sockact", *words], ["-c", LONG, *words])
    return [run(app, *way, SOCKACT_NAME="app", **environ) for way in ways]


@pytest.mark.parametrize("line", [*SIMPLE, *OTHERS])
def test_both_ways_say_the_same(app: Running, line: str) -> None:
    short, long = both(app, line)
    assert short == long
    assert short[0] in (0, 1, 2, 3)


@pytest.mark.parametrize("line", ["reload app", "reload --json app"])
@pytest.mark.parametrize(
    "refusal",
    [
        None,
        varlink.Refused(interface.STOPPING),
        varlink.Refused(interface.TOO_MANY_FAILURES, {"reason": "3 failures"}),
        varlink.Refused(interface.CONFIGURATION_REFUSED, {"reason": "line 3"}),
        varlink.Refused(varlink.PERMISSION_DENIED),
    ],
    ids=lambda one: one.name.rpartition(".")[2] if one else "Failed",
)
def test_both_ways_fail_the_same(app: Running, line: str, refusal: varlink.Refused | None) -> None:
    app.service.at_once, app.service.refusal = (FAILED, False), refusal
    short, long = both(app, line)
    assert short == long
    assert short[0] == 1


def test_both_ways_miss_the_output(app: Running) -> None:
    for way in (["-m", "sockact"], ["-c", LONG]):
        words = [*way, "status", "app"]
        code, _, stderr = run(app, "-c", INTO_FULL, sys.executable, *words)
        assert (code, stderr) == (1, "sockact: cannot write the output: No space left on device\n")
        code, _, stderr = run(app, "-c", INTO_CLOSED, sys.executable, *words)
        assert (code, stderr) == (0, "-13\n")


@pytest.mark.parametrize("line", [one for one in SIMPLE if " nope" in one])
def test_a_failure_loads_no_click(app: Running, line: str) -> None:
    _, _, stderr = run(app, "-I", "-c", INSERT + LOADS, *line.split())
    status, *modules = stderr.splitlines()[-1].split()
    assert status == "3"
    assert not {*modules} & {"click", "sockact.cli.main"}


@pytest.mark.parametrize("line", [one for one in SIMPLE if " nope" not in one])
def test_the_short_way_loads_little(app: Running, line: str) -> None:
    code, _, stderr = run(app, "-I", "-c", INSERT + LOADS, *line.split(), SOCKACT_NAME="app")
    status, *modules = stderr.split()
    assert (code, status) == (0, "0")
    # Only several services are asked side by side.
    wanted = {"threading"} if line.startswith("list") else set()
    assert not {*modules} & (UNWANTED - wanted)


@pytest.mark.parametrize("line", OTHERS)
def test_the_rest_takes_the_long_way(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKACT_NAME", raising=False)
    assert shortcut.parse(line.split()) is None


@pytest.mark.parametrize("name", shortcut.FLAGS)
def test_its_options_are_those_of_the_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command
    options = {
        param.opts[0]: param.name
        for param in command.params
        if isinstance(param, click.Option) and param.is_flag and param.opts != ["--watch"]
    }
    assert shortcut.FLAGS[name] == options
    call = import_module(f"sockact.cli.calls.{name}").perform
    timed = {"timeout"} if "--timeout" in str([param.opts for param in command.params]) else set()
    named = {"name"} if any(isinstance(one, click.Argument) for one in command.params) else set()
    # Options with a value are left to click, but for the time.
    valued = {
        param.name
        for param in command.params
        if isinstance(param, click.Option) and not param.is_flag and "--timeout" not in param.opts
    } - {"interval"}
    if "canary" in valued:  # They are passed on together.
        valued = {"canary"}
    known = {*options.values(), *timed, *named, *valued}
    assert set(inspect.signature(call).parameters) == known


def test_an_interrupted_command(app: Running) -> None:
    app.service.at_once = None
    code = f"{INSERT}\n{INTERRUPTED}"
    assert run(app, "-c", code, "reload", "app")[0] == -2
