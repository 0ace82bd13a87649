"""`sockact rotate` under load: each line once, and none in the old file after it has returned."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import GOOD, Program, connect, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.support.service import Outcome, Service

# Threads, forked and spawned processes, each with lines of its own, numbered from 1.
WRITES = """
import logging, multiprocessing

def write(name):
    number = 0
    while True:
        number += 1
        logging.info("%d %s %d", os.getpid(), name, number)
        time.sleep(0.0005)

def threads():
    for number in range(2):
        threading.Thread(target=write, args=("t%d" % number,), daemon=True).start()

def configure():
    logging.basicConfig(filename=LOG, level=logging.INFO, format="%(message)s")

def spawned():
    configure()
    write("spawned")

def run():
    configure()
    # Threads come later: a fork in the middle of a write would leave the child a held lock.
    if not os.fork():
        threads()
        write("forked")
    threads()
    multiprocessing.get_context("spawn").Process(target=spawned, daemon=True).start()

if __name__ == "__main__":
    run()
    accept(bound())
"""

WSGI = """
def application(_environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

FORKS = """
import logging
logging.basicConfig(filename=LOG, level=logging.INFO, format="%(message)s")

def fork():
    while True:
        if not os.fork():
            for number in range(1, 51):
                logging.info("%d %d", os.getpid(), number)
                time.sleep(0.001)
            os._exit(0)
        time.sleep(0.02)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
threading.Thread(target=fork, daemon=True).start()
accept(bound())
"""

ANSWERS_LATE = """
def serve(connection):
    with connection:
        connection.recv(100)
        while not os.path.exists({path!r}): time.sleep(0.01)
        connection.sendall(VERSION)
"""

QUIET = """
import logging
logging.basicConfig(filename=LOG, level=logging.INFO, format="%(message)s")
logging.info("starts")
"""


@pytest.fixture
def log(folder: Path) -> Path:
    """A log in its own directory, as usual."""
    (folder / "log").mkdir()
    return folder / "log" / "app.log"


def publish(program: Program, log: Path, version: str, body: str) -> None:
    program.publish(version, f"LOG = {str(log)!r}\n{body}")


def rotate(service: Service, log: Path, number: int) -> Outcome:
    """As logrotate does, and the size of the old file is noted when `sockact rotate` returns."""
    os.rename(log, f"{log}.{number}")
    if number % 2:
        log.touch()
    return service.run("rotate", service.name)


class Rotations:
    """Rotates, and knows how long each old file was then."""

    def __init__(self, service: Service, log: Path) -> None:
        self._service = service
        self._log = log
        self._sizes: dict[str, int] = {}

    def __call__(self) -> Outcome:
        outcome = rotate(self._service, self._log, len(self._sizes) + 1)
        old = f"{self._log}.{len(self._sizes) + 1}"
        self._sizes[old] = os.path.getsize(old)
        assert outcome.code == 0, outcome
        return outcome

    def grows(self) -> None:
        """Wait until the new file gets lines."""
        before = self._log.stat().st_size
        wait.until(lambda: self._log.stat().st_size > before + 2000, "lines in the new file")

    def lines(self) -> list[str]:
        """All of them, in order. Nothing was added to an old file after its rotation."""
        assert {old: os.path.getsize(old) for old in self._sizes} == self._sizes
        files = [*map(Path, self._sizes), self._log]
        text = "".join(file.read_text() for file in files)
        assert text.endswith("\n")
        return text.splitlines()


def assert_complete(lines: list[str]) -> int:
    """Every writer's numbers are 1, 2, 3 …; returns how many writers there are."""
    seen: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        writer, _, number = line.rpartition(" ")
        seen[writer].append(int(number))
    for writer, numbers in seen.items():
        assert sorted(numbers) == [*range(1, len(numbers) + 1)], writer
    return len(seen)


def test_no_line_is_lost_or_late(start: StartService, program: Program, log: Path) -> None:
    publish(program, log, "1", WRITES)
    service = start(program.command, listen=program.listen)
    rotations = Rotations(service, log)
    wait.until(lambda: "spawned" in log.read_text(), "the last process to write")
    rotations.grows()
    for _ in range(6):
        # multiprocessing's resource tracker runs without the shim's knowledge of any file.
        assert "3 files reopened" in rotations().stdout
        rotations.grows()
    assert service.stop("--now") == 0
    assert assert_complete(rotations.lines()) == 6


def test_children_that_are_born_meanwhile(start: StartService, program: Program, log: Path) -> None:
    """Forked without end, by a program that may not have heard yet; each writes for a while."""
    publish(program, log, "1", FORKS)
    service = start(program.command, listen=program.listen)
    rotations = Rotations(service, log)
    for _ in range(5):
        rotations.grows()
        rotations()
    assert service.stop("--now") == 0
    assert assert_complete(rotations.lines()) > 20


@contextmanager
def requests(port: int, clients: int = 4) -> Iterator[list[str]]:
    """Clients that ask for one path after the other; the paths that were answered."""
    answered: list[str] = []
    stop = threading.Event()

    def run(client: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = f"/{client}-{number}"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wait.TIMEOUT)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()
            answered.append(path)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(run, client) for client in range(clients)]
        try:
            yield answered
        finally:
            stop.set()
        for one in running:
            one.result()


@pytest.mark.parametrize(
    ("worker", "reopen_signal"),
    [("sync", ()), ("gthread", ("--reopen-signal", "USR1")), ("gevent", ())],
)
def test_gunicorn_under_load(
    start: StartService, folder: Path, log: Path, worker: str, reopen_signal: tuple[str, ...]
) -> None:
    (folder / "app.py").write_text(WSGI)
    port = wait.free_port()
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "-k", worker]
    logs = ["--access-logfile", str(log), "--access-logformat", "%(r)s", "--no-control-socket"]
    service = start(
        [sys.executable, "-m", *command, *logs, "--chdir", str(folder), "app"],
        listen=(f"127.0.0.1:{port}",),
        options=reopen_signal,
    )
    rotations = Rotations(service, log)
    with requests(port) as answered:
        for _ in range(4):
            rotations.grows()
            said = rotations().stdout
            assert "in 3 processes" in said
            assert ("1 process signalled" in said) is bool(reopen_signal)
        # Workers that are forked now have the new file.
        assert service.reload().code == 0
        rotations.grows()
        rotations()
        rotations.grows()
    service.wait_drained()
    assert service.stop() == 0
    logged = [line.split()[1] for line in rotations.lines()]
    assert sorted(logged) == sorted(answered)


def test_generations_that_start_and_that_drain(
    start: StartService, program: Program, log: Path, folder: Path
) -> None:
    gate, end = folder / "gate", folder / "end"
    publish(program, log, "1", ANSWERS_LATE.format(path=str(end)) + WRITES)
    service = start(program.command, listen=program.listen)
    waits = f"    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n    accept("
    publish(program, log, "2", WRITES.replace("    accept(", waits))
    rotations = Rotations(service, log)
    with connect(("127.0.0.1", program.port)) as slow, ThreadPoolExecutor(1) as pool:
        slow.sendall(b"slow")
        reload = pool.submit(service.reload)
        wait.until(lambda: service.states().get(2) == "pending", "the successor")
        wait.until(lambda: log.read_text().count(" spawned 1\n") == 2, "all its processes")
        assert "6 files reopened" in rotations().stdout
        rotations.grows()
        gate.touch()
        assert reload.result().code == 0
        assert service.states() == {1: "draining", 2: "running"}
        assert "6 files reopened" in rotations().stdout
        rotations.grows()
        end.touch()
        assert read_all(slow) == "1"
    service.wait_drained()
    assert service.stop("--now") == 0
    assert assert_complete(rotations.lines()) == 12


def test_nothing_to_reopen(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    outcome = service.run("rotate", "test")
    assert (outcome.code, outcome.stdout) == (0, "test: 0 files reopened in 1 process\n")
    found = service.run("rotate", "test", "--json").json()
    assert found == {"processes": 1, "files": 0, "signalled": 0, "errors": []}


def test_many_ask_at_the_same_time(start: StartService, program: Program, log: Path) -> None:
    publish(program, log, "1", WRITES)
    service = start(program.command, listen=program.listen)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(service.run, "rotate", "test") for _ in range(5)]
        service.signal(signal.SIGUSR1)
        outcomes = [one.result() for one in asked]
    assert [one.code for one in outcomes] == [0] * 5, outcomes


def test_a_process_that_is_stopped(start: StartService, program: Program, log: Path) -> None:
    """rotate waits for it only as long as for an order, and names it."""
    publish(program, log, "1", QUIET + GOOD)
    service = start(program.command, listen=program.listen)
    (pid,) = service.status()["generations"][0]["pids"]
    os.kill(pid, signal.SIGSTOP)
    try:
        os.rename(log, f"{log}.1")
        outcome = service.run("rotate", "test")
        assert outcome.code == 1
        assert outcome.stdout == "test: 0 files reopened in 0 processes\n"
        why = "; it may still write to old files; rotate again once it responds\n"
        assert outcome.stderr == f"sockact: test: process {pid}: no answer to 25 signals{why}"
        late = service.run("rotate", "test", "--timeout", "0.5s")
        assert (late.code, "do not compress" in late.stderr) == (4, True)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert service.run("rotate", "test").code == 0
    assert os.path.exists(log)


def test_a_new_file_that_cannot_be_made(start: StartService, program: Program, log: Path) -> None:
    publish(program, log, "1", QUIET + GOOD)
    service = start(program.command, listen=program.listen)
    os.rename(log, f"{log}.1")
    log.mkdir()
    outcome = service.run("rotate", "test", "--json")
    (error,) = outcome.json()["errors"]
    assert error["error"] == f"{log}: is no longer a regular file"
    assert outcome.stderr == f"sockact: test: process {error['pid']}: {error['error']}\n"
    assert outcome.code == 1
    service.signal(signal.SIGUSR1)
    line = f"SIGUSR1: files reopened: 0, processes told: 1; process {error['pid']}: {log}: is no"
    wait.until(lambda: line in service.stderr, "the line")


def test_sigusr1_rotates(start: StartService, program: Program, log: Path) -> None:
    publish(program, log, "1", QUIET + GOOD)
    service = start(program.command, listen=program.listen)
    os.rename(log, f"{log}.1")
    service.signal(signal.SIGUSR1)
    wait.until(lambda: "SIGUSR1: files reopened: 1, processes told: 1" in service.stderr, "it")
    assert log.exists()


# Without the shim, as a program in another language.
