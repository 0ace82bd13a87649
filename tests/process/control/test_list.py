"""`sockact list`, and `sockact` alone: every service in a line, whatever one of them does."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.control import paths
from tests.process.control.running import ONE, Running, command, finish, sockact_on
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService

CANARY = {
    "generation": 2,
    "share": 25,
    "by": "client",
    "step": 1,
    "steps": 2,
    "held": False,
    "verdict": "not-enough",
    "reasons": [],
}
HINT = "Try 'sockact --help' for the commands.\n"


@pytest.fixture
def app(folder: Path) -> Iterator[Running]:
    app = Running(folder, "app")
    yield app
    app.close()


def test_a_service_that_does_not_answer(start: StartService, folder: Path, tmp_path: Path) -> None:
    services = []
    for name in ("one", "stuck", "two"):
        place = tmp_path / name
        place.mkdir()
        program = Program(place)
        services.append(start(program.command, name=name, listen=program.listen))
        (folder / name).symlink_to(services[-1].runtime / name)
    stuck = services[1].process.pid
    os.kill(stuck, signal.SIGSTOP)
    try:
        began = time.monotonic()
        code, stdout, stderr = finish(command(folder, "list"))
        assert time.monotonic() - began < 6
        found = finish(command(folder, "list", "--json"))[1]
    finally:
        os.kill(stuck, signal.SIGCONT)
    assert (code, stderr) == (0, "")
    lines = [line.split() for line in stdout.splitlines()]
    assert lines[0] == "NAME STATE GENERATION VERSION CONNECTIONS LAST HANDOVER".split()
    assert lines[1] == ["one", "serving", "1", "-", "0", "-"]
    assert lines[2] == ["stuck", "no", "answer", "-", "-", "-", "-"]
    assert lines[3] == ["two", "serving", "1", "-", "0", "-"]
    assert '"error": "stuck: the supervisor in ' in found
    assert found.count('"error": null') == 2


def test_a_handover_is_shown(app: Running) -> None:
    app.service.generations = [{**ONE, "version": "v1.4.2\x1b"}]
    code, stdout, stderr = sockact_on(app, "list")
    assert (code, stderr) == (0, "")
    line = stdout.splitlines()[1]
    assert line.startswith("app   serving  2           v1.4.2\\x1b  36           succeeded ")
    assert line.endswith(" d ago") or line.endswith(" h ago")


@pytest.mark.parametrize(("version", "shown"), [("v2", "canary 2.5 %"), ("v2" * 9, "serving")])
def test_the_share_of_a_canary(app: Running, version: str, shown: str) -> None:
    """If the line fits 80 columns."""
    app.service.canary = CANARY
    app.service.generations = [{**ONE, "version": version}]
    code, stdout, stderr = sockact_on(app, "list")
    assert (code, stderr) == (0, "")
    header, line = stdout.splitlines()
    assert line[header.index("STATE") : header.index("GENERATION")].strip() == shown
    (entry,) = json.loads(sockact_on(app, "list", "--json")[1])
    assert (entry["state"], entry["share"]) == ("serving", 25)


def test_without_a_command(app: Running) -> None:
    listed = sockact_on(app, "list")[1]
    assert sockact_on(app) == (0, listed + HINT, "")


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_nothing_runs(folder: Path, arguments: tuple[str, ...]) -> None:
    code, stdout, stderr = finish(command(folder, *arguments))
    assert (code, stderr) == (0, "")
    assert stdout == (
        "No service is running; start one with `sockact run`, or set up a unit with "
        "`sockact init`.\n" + ("" if arguments else HINT)
    )


def test_an_answer_of_another_program(app: Running) -> None:
    app.service.generations = [{**ONE, "number": {"two": 2}}]
    code, stdout, stderr = sockact_on(app, "list")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[1].split() == ["app", "no", "answer", "-", "-", "-", "-"]


def test_what_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's services, and for root those of all users; where chosen, only those."""
    monkeypatch.setattr(paths, "SYSTEM_BASE", "/system")
    monkeypatch.setattr(paths, "_USERS", str(folder))
    (folder / "1000").mkdir()
    assert paths.bases({}, 0) == ["/system", f"{folder}/1000/sockact"]
    assert paths.bases({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == ["/run/user/7/sockact", "/system"]
    assert paths.bases({}, 7) == ["/system"]
    for name in ("SOCKACT_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
        assert paths.bases({name: "/chosen"}, 0) == ["/chosen"]
