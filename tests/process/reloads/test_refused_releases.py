"""A release that does not start is refused with the reason, and no client notices."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import GOOD, Hammer, Program, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.deployment import Deployment
    from tests.support.service import Outcome, Service

START_TIMEOUT = 2.0
OPTIONS = ("--start-timeout", f"{START_TIMEOUT}s")
# What the command line itself takes to start and to end, on a busy machine.
OVERHEAD = 3.0


def refuse(service: Service, program: Program) -> Outcome:
    """Reload to the version on disk; checks what holds for every refused release."""
    (predecessor,) = service.status()["generations"]
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        outcome = service.reload()
        hammer.wait_for("1")
    assert outcome.code == 1, outcome
    assert outcome.seconds < START_TIMEOUT + OVERHEAD
    assert hammer.failures == []
    assert set(hammer.answers) == {"1"}
    service.notify.wait_for("RELOADING", "1")
    service.notify.wait_for("READY", "1")
    wait.until(lambda: len(service.states()) == 1, "the failed generation to be gone")
    (left,) = service.status()["generations"]
    assert (left["pid"], left["state"]) == (predecessor["pid"], "running")
    return outcome


def accept(service: Service, program: Program) -> None:
    """Check that the next good release is accepted."""
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert program.ask() == "2"


def one_line(outcome: Outcome) -> str:
    """The first line of the message; the quoted lines follow it."""
    return outcome.stderr.splitlines()[0]


def quoted(outcome: Outcome) -> list[str]:
    return [line.removeprefix("  | ") for line in outcome.stderr.splitlines()[1:]]


def test_exits_at_once(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.write("raise SystemExit('no database: set DATABASE_URL')\n")
    outcome = refuse(service, program)
    assert "exited with status 1 before it was ready" in one_line(outcome)
    assert quoted(outcome) == ["no database: set DATABASE_URL"]
    assert outcome.seconds < START_TIMEOUT + OVERHEAD
    accept(service, program)


def test_exits_with_status_0(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.write("pass\n")
    assert "exited with status 0 before it was ready" in one_line(refuse(service, program))
    accept(service, program)


def test_never_listens(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.publish("2", "print('thinking', file=sys.stderr, flush=True)\nsignal.pause()\n")
    outcome = refuse(service, program)
    line = one_line(outcome)
    assert f"not ready within the start timeout of {START_TIMEOUT:g} s" in line
    assert "it bound no address" in line
    assert f"127.0.0.1:{program.port}" in line
    assert quoted(outcome) == ["thinking"]
    accept(service, program)


def test_binds_another_port(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    other, another = wait.free_port(), wait.free_port()
    body = f"a = bound(('127.0.0.1', {other}))\nb = bound(('127.0.0.1', {another}))\naccept(a)\n"
    program.publish("2", body)
    line = one_line(refuse(service, program))
    assert f"127.0.0.1:{other}" in line
    assert f"127.0.0.1:{another}" in line
    assert f"127.0.0.1:{program.port}" in line
    accept(service, program)


def test_listens_and_never_accepts(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.publish("2", "bound()\nsignal.pause()\n")
    line = one_line(refuse(service, program))
    assert f"nothing waits for connections on 127.0.0.1:{program.port}" in line
    accept(service, program)


def test_dies_between_listen_and_accept(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.publish("2", "bound()\ntime.sleep(0.05)\nraise SystemExit('import failed')\n")
    outcome = refuse(service, program)
    assert "exited with status 1 before it was ready" in one_line(outcome)
    assert quoted(outcome) == ["import failed"]
    accept(service, program)


def test_its_children_go_with_it(start: StartService, program: Program, folder: Path) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    pids = folder / "pids"
    sleeper = "[sys.executable, '-S', '-c', 'import signal; signal.pause()']"
    program.publish(
        "2",
        f"child = subprocess.Popen({sleeper})\n"
        f"orphan = subprocess.Popen({sleeper}, start_new_session=True)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} {{orphan.pid}}')\n"
        "raise SystemExit(5)\n",
    )
    refuse(service, program)
    assert running(map(int, pids.read_text().split())) == []
    accept(service, program)


def test_ignores_sigterm(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.publish("2", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()\n")
    refuse(service, program)
    accept(service, program)


def test_what_it_wrote_is_bounded(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.write(
        "import sys\nfor n in range(5000): print('line', n, file=sys.stderr)\nraise SystemExit(1)\n"
    )
    outcome = refuse(service, program)
    assert quoted(outcome)[-1] == "line 4999"
    assert len(quoted(outcome)) <= 100
    accept(service, program)


class TestProgramFile:
    """The command stays the same; the file that it names changes."""

    @pytest.fixture
    def script(self, program: Program) -> Path:
        self.make(program)
        return program.path

    @staticmethod
    def make(program: Program, interpreter: str = sys.executable) -> None:
        program.path.write_text(f"#!{interpreter}\n{program.path.read_text()}")
        program.path.chmod(0o755)

    @pytest.fixture
    def service(self, start: StartService, program: Program, script: Path) -> Service:
        return start([str(script)], listen=program.listen, options=OPTIONS)

    def recover(self, service: Service, program: Program) -> None:
        program.publish("2")
        self.make(program)
        assert service.reload().code == 0, service.stderr
        assert program.ask() == "2"

    def test_does_not_exist(self, service: Service, program: Program) -> None:
        program.path.unlink()
        line = one_line(refuse(service, program))
        assert f"cannot execute {program.path}: No such file or directory" in line
        self.recover(service, program)

    def test_is_not_executable(self, service: Service, program: Program) -> None:
        program.path.chmod(0o644)
        line = one_line(refuse(service, program))
        assert f"cannot execute {program.path}: Permission denied" in line
        self.recover(service, program)

    def test_has_a_bad_interpreter(self, service: Service, program: Program) -> None:
        program.publish("2")
        self.make(program, "/nonexistent/python")
        line = one_line(refuse(service, program))
        assert f"cannot execute {program.path}" in line
        assert "/nonexistent/python" in line
        self.recover(service, program)

    def test_is_a_script_without_interpreter(self, service: Service, program: Program) -> None:
        program.path.write_text("exit 0\n")
        line = one_line(refuse(service, program))
        assert f"cannot execute {program.path}: Exec format error" in line
        self.recover(service, program)


def test_working_directory_vanished(start: StartService, program: Program, folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    options = (*OPTIONS, "--directory", str(home))
    service = start(program.command, listen=program.listen, options=options)
    home.rmdir()
    line = one_line(refuse(service, program))
    assert f"cannot enter {home}: No such file or directory" in line
    home.mkdir()
    accept(service, program)


@pytest.mark.skipif(not importlib.util.find_spec("gunicorn"), reason="gunicorn is not installed")
def test_worker_that_cannot_import(start_server: Callable[..., Deployment]) -> None:
    """gunicorn without --preload listens, says that it is ready, and then imports."""
    deployment = start_server("gunicorn sync", "--kill-timeout", "1s")
    before = {one["pid"] for one in deployment.service.status()["generations"]}
    deployment.releases.publish_broken("2")
    outcome = deployment.service.reload()
    assert outcome.code == 1
    assert "before it was ready" in one_line(outcome)
    # The other worker may have the last word.
    assert any("Worker failed to boot" in line for line in quoted(outcome))
    assert deployment.version() == "1"
    deployment.service.wait_drained()
    assert {one["pid"] for one in deployment.service.status()["generations"]} == before


def test_two_in_a_row_do_not_add_up(start: StartService, program: Program) -> None:
    """A refused release does not count as a crash: there is no back-off."""
    service = start(program.command, listen=program.listen, options=OPTIONS)
    program.write("raise SystemExit(1)\n")
    for _ in range(3):
        assert service.reload().code == 1
    assert service.status()["state"] == "serving"
    accept(service, program)


def test_program_that_moved(start: StartService, program: Program, folder: Path) -> None:
    """The command is looked up anew for each generation."""
    tools = folder / "tools"
    tools.mkdir()
    link = tools / "app"
    shutil.copy(program.path, tools / "one.py")
    link.symlink_to(tools / "one.py")
    service = start([sys.executable, str(link)], listen=program.listen, options=OPTIONS)
    link.unlink()
    refuse(service, program)
    program.publish("2", GOOD)
    link.symlink_to(program.path)
    assert service.reload().code == 0
    assert program.ask() == "2"
