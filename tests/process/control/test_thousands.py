"""Directories with more services than anybody needs: the others are shown, in time."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sockact.cli.calls import asking, resources, service, status
from sockact.cli.terminal.failures import Failure
from sockact.supervisor.control import claim, paths
from tests.process.control.running import Running, sockact_on
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def app(folder: Path) -> Iterator[Running]:
    app = Running(folder, "app")
    yield app
    app.close()


def places(base: Path, number: int, **files: Path) -> list[Path]:
    """Make directories with links to these files."""
    made = [base / f"{index:05}" for index in range(number)]
    for place in made:
        place.mkdir(parents=True)
        for name, path in files.items():
            os.link(path, place / name)
    return made


@pytest.mark.parametrize("action", ["list", "status"])
def test_dead_ones_are_counted(app: Running, action: str) -> None:
    """As if each had lost its control socket: there is a lock, but nobody to connect to."""
    places(app.directory.parent, 500, lock=app.directory / "lock")
    code, stdout, stderr = sockact_on(app, action)
    assert "serving" in stdout
    if action == "list":
        assert stdout.count("no answer") == status.MOST_FAILURES
        assert (code, len(stderr.splitlines())) == (0, 1)
    else:
        assert stderr.count("is missing; run") == status.MOST_FAILURES
        assert (code, len(stderr.splitlines())) == (1, status.MOST_FAILURES + 1)
    assert stderr.splitlines()[-1] == (
        "sockact: 480 more services did not answer; name one to see why"
    )


def test_silent_ones_do_not_hide_those_of_another_directory(app: Running, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "silent"))
        silent.listen(1024)
        many = places(folder / "many", 300, control=folder / "silent")
        services = [service.Service(one.name, str(one)) for one in (*many, app.directory)]
        *failures, answer = app.meanwhile(lambda: asking.ask_all(services, 2.0))
    assert isinstance(answer, dict)
    assert answer["name"] == "app"
    assert all(isinstance(one, Failure) for one in failures)
    told = [one.message for one in failures if isinstance(one, Failure)]
    assert told[0] == (
        f"00000: the supervisor in {many[0]} did not answer within 2 s; check its log"
    )
    assert told[-1] == "00299: not queried within 2 s"


def test_one_without_room_is_called_again(app: Running, folder: Path) -> None:
    """Its queue is full when it is called for the first time."""
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        place = app.directory
        os.rename(place / "control", place / "there")
        full.bind(str(place / "control"))
        full.listen(0)
        first.connect(str(place / "control"))
        made = asking._Asking([service.Service("app", str(place))], wait.TIMEOUT)
        assert made._call_next() is False
        assert made._again
        os.rename(place / "there", place / "control")
        answers = app.meanwhile(made.answers)
    assert isinstance(answers[str(place)], dict)


def test_not_all_of_one_directory_are_called(
    app: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_MOST_IN_ONE", 1)
    services = [service.Service(name, str(folder / name)) for name in ("app", "beyond")]
    answer, failure = app.meanwhile(lambda: asking.ask_all(services, wait.TIMEOUT))
    assert isinstance(answer, dict)
    assert isinstance(failure, Failure)
    assert failure.message == f"beyond: not queried; {folder} has more than 1 services"


def test_nothing_is_waited_for(tmp_path: Path) -> None:
    """Nobody listens any more."""
    made = asking._Asking([service.Service("gone", str(tmp_path / "gone"))], wait.TIMEOUT)
    made._call_next()
    assert made._wait() == 0
    (answer,) = made.answers().values()
    assert isinstance(answer, Failure)


def test_usage_is_read_for_all_services_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def usage(groups: list[list[int]], _seconds: float) -> list[Any]:
        asked.append(groups)
        return [(pids[0], 0.5) for pids in groups]

    monkeypatch.setattr(resources, "usage", usage)
    statuses: list[dict[str, Any]] = [
        {"generations": [{"pids": [1]}, {"pids": [2]}]},
        {"generations": [{"pids": [3]}]},
    ]
    status.add_usage(statuses)
    assert asked == [[[1], [2], [3]]]
    assert [one["memory_bytes"] for x in statuses for one in x["generations"]] == [1, 2, 3]


def test_not_all_entries_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MOST_ENTRIES", 3)
    places(tmp_path, 3)
    assert not paths.is_overfull(str(tmp_path))
    held = [claim.lock(str(one)) for one in (*tmp_path.iterdir(), *places(tmp_path / "other", 1))]
    assert paths.is_overfull(str(tmp_path))
    assert len(paths.running_in(str(tmp_path))) <= 3
    for fd in held:
        os.close(fd)


def test_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "MOST_ENTRIES", 3)
    monkeypatch.setenv("SOCKACT_RUNTIME_DIR", str(tmp_path))
    places(tmp_path, 3)
    service.tell_unseen()
    assert not capsys.readouterr().err
    places(tmp_path / "another", 1)
    service.tell_unseen()
    assert capsys.readouterr().err == (
        f"sockact: {tmp_path} has more than 3 entries; services in it may be missing here; "
        "remove what does not belong there\n"
    )
