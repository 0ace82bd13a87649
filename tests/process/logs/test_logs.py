"""--log: each line complete, once and in order, whatever happens to program, disk or supervisor."""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support import wait
from tests.support.installed import Installed
from tests.support.logs import grows, pump, reopen, rotate, said, talking
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

WRITES = """
listener = bound()
threading.Thread(target=accept, args=(listener,), daemon=True).start()
out, err = os.fdopen(1, "wb", 0), os.fdopen(2, "wb", 0)
"""
WAITS = "threading.Event().wait()\n"


@pytest.fixture
def program(folder: Path) -> Program:
    found = Program(folder)
    found.publish("1", talking())
    return found


@pytest.fixture
def log(folder: Path) -> Path:
    (folder / "logs").mkdir()
    return folder / "logs" / "app.log"


def run(start: StartService, program: Program, log: Path, *options: str) -> Service:
    return start(program.command, listen=program.listen, options=("--log", str(log), *options))


def state_of(service: Service) -> dict[str, Any]:
    """The status of its log."""
    (state,) = service.status()["logs"]
    return dict(state)


def has(path: Path, text: bytes) -> bytes:
    """What is in the file, once this text is."""
    wait.until(lambda: path.exists() and text in path.read_bytes(), f"{text!r} in {path}")
    return path.read_bytes()


def all_complete(files: list[Path]) -> bool:
    found = said(files)
    return bool(found) and all(one.complete for one in found.values())


@pytest.mark.slow
def test_each_line_once_over_reloads_and_rotations(
    start: StartService, program: Program, log: Path
) -> None:
    service = run(start, program, log)
    left: dict[Path, bytes] = {}
    for number in range(10):
        grows(log)
        path = log.with_suffix(f".{number}")
        left[path] = rotate(service, log, path)
        if number % 2:
            outcome = service.reload()
            assert outcome.code == 0, (outcome, service.stderr)
    assert service.stop() == 0
    # Nothing went to them after the answer: logrotate may compress them at once.
    assert all(path.read_bytes() == data for path, data in left.items())
    found = said([*left, log])
    assert len(found) == 12
    assert not {name: one.fault for name, one in found.items() if not one.complete}


def limit_files(pid: int, size: int) -> None:
    """A disk that is full for this process at that size of a file: EFBIG, after half a write."""
    _soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def fill(service: Service, log: Path) -> None:
    """No more than a part of the next line finds room."""
    process = pump(service)
    process.suspend()
    wait.until(lambda: process.status() == psutil.STATUS_STOPPED, "the pump to stand still")
    limit_files(process.pid, log.stat().st_size + 10)
    process.resume()


def test_a_full_disk_loses_no_line_that_finds_room(
    start: StartService, program: Program, log: Path
) -> None:
    service = run(start, program, log)
    grows(log)
    fill(service, log)
    wait.until(lambda: state_of(service)["waiting_bytes"] > 5000, "lines to wait")
    state = state_of(service)
    assert (state["path"], state["error"]) == (str(log), "File too large")
    assert not log.read_bytes().endswith(b"\n")
    shown = service.run("status", "test").stdout
    assert f"log {log}: cannot be written (File too large), " in " ".join(shown.split())
    limit_files(pump(service).pid, resource.RLIM_INFINITY)
    wait.until(lambda: not state_of(service)["error"], "the lines to be written")
    assert service.stop() == 0
    assert all_complete([log])
    assert service.stderr.count("File too large; output is kept in memory") == 1
    assert "dropped" not in service.stderr + log.read_text()


def test_what_a_full_disk_loses_is_counted(
    start: StartService, program: Program, log: Path
) -> None:
    program.publish("1", talking(at_once=2000))
    service = run(start, program, log)
    grows(log)
    fill(service, log)
    wait.until(lambda: state_of(service)["dropped_lines"] > 1000, "lines to be dropped")
    limit_files(pump(service).pid, resource.RLIM_INFINITY)
    wait.until(lambda: not state_of(service)["error"], "the lines to be written")
    program.publish("2", talking())
    assert service.reload("--wait-drained").code == 0
    # While lines wait, more may be dropped.
    wait.until(lambda: not state_of(service)["waiting_bytes"], "all that waits to be written")
    dropped = state_of(service)["dropped_lines"]
    assert service.stop() == 0
    found = said([log]).values()
    assert sum(one.missing for one in found) == dropped
    told = [line for line in log.read_text().splitlines() if line.startswith("sockact: ")]
    assert sum(int(line.split()[1]) for line in told) == dropped
    assert all("dropped between" in one and one.endswith(": File too large") for one in told)
    assert (
        sum(int(line.split()[-4]) for line in service.stderr.splitlines() if "were dropped" in line)
        == dropped
    )


def test_rotation_while_the_disk_is_full(start: StartService, program: Program, log: Path) -> None:
    service = run(start, program, log)
    grows(log)
    fill(service, log)
    wait.until(lambda: bool(state_of(service)["waiting_bytes"]), "lines to wait")
    # What the file before has of a line is taken back: the new one has all of it.
    left = log.with_suffix(".1")
    before = rotate(service, log, left)
    assert before.endswith(b"\n")
    limit_files(pump(service).pid, resource.RLIM_INFINITY)
    assert service.stop() == 0
    assert all_complete([left, log])


def test_the_directory_is_gone_for_a_while(
    start: StartService, program: Program, log: Path
) -> None:
    service = run(start, program, log)
    grows(log)
    moved = log.parent.with_suffix(".moved")
    log.parent.rename(moved)
    # Its file is still the one that is written to, until it is to be reopened, or deleted.
    assert "No such file or directory" in reopen(service)
    first = moved / log.name
    grows(first)
    kept = moved / "kept"
    kept.write_bytes(b"")
    os.unlink(first)
    wait.until(lambda: bool(state_of(service)["error"]), "lines to wait")
    assert state_of(service)["error"] == "No such file or directory"
    log.parent.mkdir()
    grows(log)
    assert state_of(service)["dropped_lines"] == 0
    assert service.stop() == 0
    # They begin where the deleted file ended: somewhere, but from there on they are complete.
    for one in said([log]).values():
        assert one.numbers == list(range(one.numbers[0], (one.last or 0) + 1))


def another_pump(service: Service) -> None:
    """Kill the one that is there, and wait for the next."""
    before = pump(service)
    before.kill()
    wait.until(lambda: pump(service) != before, "another log pump")


@pytest.mark.slow
def test_the_pump_is_killed(start: StartService, program: Program, log: Path) -> None:
    service = run(start, program, log)
    for _ in range(3):
        grows(log)
        another_pump(service)
    left = log.with_suffix(".1")
    rotate(service, log, left)
    grows(log)
    assert service.reload().code == 0
    assert service.stop() == 0
    assert "are lost; starting another one" in service.stderr
    assert "signal" in service.stderr
    # The program did not notice: it has exited as usual on its stop signal.
    whole = left.read_bytes() + log.read_bytes()
    assert whole.count(b" end ") == 4
    # Lines that the pump had read but not written are missing; no line is there twice.
    lines = [line.split() for line in whole.splitlines() if line.endswith(b" " + b"x" * 60)]
    for pid in {line[1] for line in lines}:
        numbers = [int(line[2]) for line in lines if line[1] == pid]
        assert numbers == sorted(set(numbers))


def test_the_supervisor_is_killed(start: StartService, program: Program, log: Path) -> None:
    service = run(start, program, log)
    grows(log)
    process = pump(service)
    service.process.kill()
    assert wait.ended(process.pid)
    service.remove_sockets()
    assert all_complete([log])


def test_the_pump_is_killed_while_it_is_to_reopen(
    start: StartService, program: Program, log: Path
) -> None:
    service = run(start, program, log)
    grows(log)
    process = pump(service)
    process.suspend()
    service.signal(signal.SIGUSR1)
    # It answers a client, so it has seen the signal.
    assert service.status()["logs"][0]["error"] == ""
    assert "reopened" not in service.stderr
    log.rename(log.with_suffix(".1"))
    process.kill()
    wait.until(lambda: "files reopened: 1" in service.stderr, "the answer of the next one")
    grows(log)


@pytest.mark.slow
def test_a_pump_that_hangs_does_not_keep_the_service(
    start: StartService, program: Program, log: Path
) -> None:
    service = run(start, program, log)
    grows(log)
    pump(service).suspend()
    assert service.stop() == 0
    assert "the log pump did not exit" in service.stderr


def test_a_disk_that_stays_full(start: StartService, program: Program, log: Path) -> None:
    service = run(start, program, log)
    grows(log)
    fill(service, log)
    wait.until(lambda: bool(state_of(service)["waiting_bytes"]), "lines to wait")
    assert service.stop() == 0
    # What it has given up at the end is counted, too.
    found = said([log], half=True)
    (line,) = [line for line in service.stderr.splitlines() if "dropped" in line]
    assert not any(one.last for one in found.values())
    assert int(line.split()[-4]) > 10


def test_the_program_cannot_be_executed(start: StartService, program: Program, log: Path) -> None:
    options = ("--log", str(log))
    service = start(["/nonexistent"], listen=program.listen, options=options, ready=False)
    assert service.process.wait(20.0) == 2
    assert "cannot execute /nonexistent" in service.stderr


def test_starting_anew_after_a_failed_upgrade(
    start: StartService, folder: Path, program: Program, log: Path
) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    service = start(
        program.command,
        listen=program.listen,
        options=("--log", str(log)),
        launcher=installed.launcher,
    )
    grows(log)
    process = pump(service)
    installed.change(
        "supervisor/logs/logs.py",
        "        if carried is None:\n",
        "        if carried:\n            1 / 0\n",
    )
    installed.publish("2.0.0")
    service.run("upgrade", "test")
    assert wait.ended(process.pid)
    wait.until(lambda: "division by zero" in service.stderr, "the failure")
    service.wait_ready()
    grows(log)
    assert service.stop() == 0
    assert all_complete([log])
