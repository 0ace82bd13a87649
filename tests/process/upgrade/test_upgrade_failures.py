"""If the installed version cannot take over, the running one continues and says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sockact.core.lifecycle.model import Phase
from sockact.core.settings import Adopt
from sockact.kernel import memfd
from sockact.supervisor.records import carried_state
from sockact.supervisor.records.carried_state import (
    CarriedHistory,
    CarriedProgram,
    CarriedService,
    CarriedSupervisor,
)
from tests.support import wait
from tests.support.installed import Installed
from tests.support.program import Hammer, Program
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.service import Service


@pytest.fixture
def installed(folder: Path) -> Installed:
    found = Installed(folder / "installed")
    found.publish("1.0")
    return found


@pytest.fixture
def service(start: StartService, program: Program, installed: Installed) -> Service:
    return start(program.command, listen=program.listen, launcher=installed.launcher)


def goes_on(service: Service, program: Program) -> None:
    """Check that the old version still does everything."""
    assert service.status()["version"] == "1.0"
    program.publish("2")
    assert service.reload("--wait-drained").code == 0
    assert program.ask() == "2"
    assert service.stop() == 0


AS_UPGRADED = """
import fcntl, os, sys
state = sys.stdin.read().replace('"pid": 4700,', f'"pid": {os.getpid()},')
fd = os.memfd_create("sockact-state", os.MFD_ALLOW_SEALING)
os.write(fd, state.encode())
fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
os.set_inheritable(fd, True)
os.environ["SOCKACT_UPGRADE"] = str(fd)
os.execv(sys.argv[1], sys.argv[1:])
"""

BROKEN = {
    "no syntax": ("supervisor/generations/live_generation.py", "def", "SyntaxError"),
    "no module": (
        "core/lifecycle/model.py",
        "import absent_module",
        "ModuleNotFoundError: No module named",
    ),
    "an exit": (
        "supervisor/main.py",
        "import sys; sys.exit(0)",
        "does not support upgrades in place",
    ),
    "empty": ("__main__.py", "", "does not support upgrades in place"),
    "no syntax in the entry": ("__main__.py", "def", "exited with status 1"),
    "killed": ("core/json_data.py", "import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files(service: Service, program: Program, installed: Installed, kind: str) -> None:
    name, text, reason = BROKEN[kind]
    installed.write(name, text)
    with Hammer(program.port) as hammer:
        outcome = service.run("upgrade", service.name)
        hammer.wait_for("1")
    assert not hammer.failures
    assert (outcome.code, outcome.stdout, outcome.stderr.count("\n")) == (1, "", 1)
    assert "test: not upgraded: the installed version" in outcome.stderr
    assert reason in outcome.stderr
    assert f"{reason}" in service.stderr
    assert "still running version" in service.stderr
    goes_on(service, program)


def test_a_removed_package(service: Service, program: Program, installed: Installed) -> None:
    """No module is loaded late: it continues without a single file of its package."""
    installed.remove()
    outcome = service.run("upgrade", service.name)
    assert (outcome.code, "not upgraded: the installed version" in outcome.stderr) == (1, True)
    goes_on(service, program)


def test_another_format(service: Service, program: Program, installed: Installed) -> None:
    installed.change("supervisor/records/carried_state.py", "FORMAT = 1\n", "FORMAT = 99\n")
    outcome = service.run("upgrade", service.name)
    assert outcome.code == 1
    assert "its state has format 1, but this version of sockact reads format 99" in outcome.stderr
    goes_on(service, program)


def test_a_version_before_there_were_upgrades(
    service: Service, program: Program, installed: Installed
) -> None:
    """It takes what is asked of it for a start, and finds the service running."""
    installed.change("__main__.py", 'os.environ.pop("SOCKACT_UPGRADE", "")', '""')
    outcome = service.run("upgrade", service.name)
    assert outcome.code == 1
    assert "the installed version cannot take over: exited with status 2" in outcome.stderr
    goes_on(service, program)


def test_a_setting_that_is_not_known_any_more(
    service: Service, program: Program, installed: Installed
) -> None:
    installed.change("core/settings.py", '    watchdog_probe: str = ""\n', "")
    outcome = service.run("upgrade", service.name)
    assert outcome.code == 1
    assert "unknown setting 'watchdog_probe'" in outcome.stderr
    goes_on(service, program)


def test_a_setting_that_is_new(service: Service, program: Program, installed: Installed) -> None:
    installed.change(
        "core/settings.py",
        "    stop_signal: int = 15\n",
        "    stop_signal: int = 15\n    x: int = 7\n",
    )
    installed.change(
        "core/lifecycle/model.py",
        "    exit_status: int = 0\n",
        "    exit_status: int = 0\n    x: int = 7\n",
    )
    installed.publish("2.0.0")
    assert service.run("upgrade", service.name).code == 0
    assert service.status()["version"] == "2.0.0"


def a_python(prefix: Path) -> Path:
    """A Python with the same modules as ours, which can be removed."""
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for name in ("lib", "pyvenv.cfg"):
        if (Path(sys.prefix) / name).exists():
            (prefix / name).symlink_to(Path(sys.prefix) / name)
    return python


def test_python_is_gone_when_it_matters(
    start: StartService, program: Program, installed: Installed, folder: Path
) -> None:
    """execve fails after the check has succeeded."""
    python = a_python(folder / "environment")
    gone = f"    os.unlink({str(python)!r})\n    sys.stdout.write(f"
    installed.change("supervisor/resume.py", '    sys.stdout.write(f"{PROOF}', f'{gone}"{{PROOF}}')
    command = f'shift; exec "{python}" "{installed.package}/__main__.py" "$@"'
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    service = start(
        program.command,
        listen=program.listen,
        launcher=("/bin/sh", "-c", command),
        environment=environment,
    )
    with Hammer(program.port) as hammer:
        outcome = service.run("upgrade", service.name)
        hammer.wait_for("1")
    assert not hammer.failures
    assert outcome.code == 1
    assert f"cannot execute {python}: No such file or directory" in outcome.stderr
    assert inherited(service) <= {0, 1, 2}
    goes_on(service, program)


def inherited(service: Service) -> set[int]:
    """The descriptors that a program would get."""
    found = set()
    for path in Path(f"/proc/{service.process.pid}/fdinfo").iterdir():
        flags = next(x for x in path.read_text().splitlines() if x.startswith("flags:"))
        if not int(flags.split()[1], 8) & os.O_CLOEXEC:
            found.add(int(path.name))
    return found


ANEW = {
    "generation": (
        "supervisor/generations/live_generation.py",
        "        found.pid, found.started",
    ),
    "control": ("supervisor/control/server.py", "        for client in clients:"),
    "processes": (
        "supervisor/processes/processes.py",
        "        self._roots = {one.pid: one.generation",
    ),
}


@pytest.mark.parametrize("kind", ANEW)
def test_taking_over_fails_after_the_check(
    service: Service, program: Program, installed: Installed, kind: str
) -> None:
    """The last resort: the service is started anew, with its listeners, in the same process."""
    name, at = ANEW[kind]
    installed.change(name, at, f"        raise RuntimeError('no way')\n{at}")
    installed.publish("2.0.0")
    before = service.status()["generations"][0]["pid"]
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        program.publish("2")
        outcome = service.run("upgrade", service.name)
        assert outcome.code == 1
        assert "closed the connection before it answered" in outcome.stderr
        hammer.wait_for("2")
    wait.until(lambda: service.states() == {1: "running"}, "it to serve")
    # Nobody was refused; requests under way ended with the program.
    assert not [x for x in hammer.failures if "refused" in x], hammer.failures
    assert len(hammer.failures) <= 2
    status = service.status()
    assert (status["version"], status["pid"]) == ("2.0.0", service.process.pid)
    assert (
        "upgrade from 1.0 failed (RuntimeError: no way); starting the program again"
        in service.stderr
    )
    assert wait.ended(before)
    assert service.reload("--wait-drained").code == 0
    assert service.stop() == 0


@pytest.mark.parametrize("handed", ["x", "check", "-1", "\u0661", "0", "2", "999", "9" * 40])
def test_the_variable_of_another_process(folder: Path, handed: str) -> None:
    environment = {**os.environ, "SOCKACT_UPGRADE": handed, "SOCKACT_RUNTIME_DIR": str(folder)}
    done = subprocess.run(
        [*SOCKACT, "run", "--", "true"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "sockact: unset SOCKACT_UPGRADE, which only sockact itself sets ("
    )
    assert done.stderr.count("\n") == 1


def test_a_state_that_is_not_ours() -> None:
    service = CarriedService(Phase.SERVING, (), 0, None, None, 0, 0, None, 0)
    history = CarriedHistory((), ())
    engine = CarriedProgram(Adopt.SHIM, "x", 0, service, (), (), (), (), history, 0, ())
    of_init = CarriedSupervisor(
        "1", 1, "x", "{}", "/", False, 0, 1, False, (), (), (), 0, (), engine
    )
    for data, code, text in (
        (carried_state.write(of_init), 2, "unset SOCKACT_UPGRADE, which process 1 set for itself"),
        (b"[]", 1, "its state has format None, but this version of sockact reads"),
        (b"\xff", 1, "upgrade failed: "),
    ):
        fd = memfd.sealed("test", data)
        done = subprocess.run(
            [*SOCKACT, "run", "--", "true"],
            env={**os.environ, "SOCKACT_UPGRADE": str(fd)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(fd,),
        )
        os.close(fd)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
        assert text in done.stderr


def test_a_check_of_a_state_that_cannot_be_printed() -> None:
    fd = memfd.sealed("test", b'{"format": "\\ud800"}')
    done = subprocess.run(
        [*SOCKACT, "run", "--", "true"],
        env={**os.environ, "SOCKACT_UPGRADE": "check"},
        stdin=fd,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(fd)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("ValueError: its state has format \\ud800, but this")


def test_a_state_whose_descriptors_are_not_there() -> None:
    """Its pid is right, as after an execve(2)."""
    state = Path(__file__).parents[2] / "unit/supervisor/state-1.json"
    done = subprocess.run(
        [sys.executable, "-c", AS_UPGRADED, *SOCKACT, "run", "--", "true"],
        input=state.read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    assert "upgrade failed: OSError: [Errno 9] Bad file descriptor; start the" in done.stderr


def test_a_signal_that_comes_with_the_proof(
    service: Service, program: Program, installed: Installed, folder: Path
) -> None:
    once = f"not __import__('os').path.exists({str(folder / 'once')!r})"
    hangs_up = f"open({str(folder / 'once')!r}, 'w'); os.kill(os.getppid(), signal.SIGHUP)"
    installed.change(
        "supervisor/resume.py",
        '    sys.stdout.write(f"{PROOF}',
        f'    if {once}: {hangs_up}\n    sys.stdout.write(f"{{PROOF}}',
    )
    program.publish("2")
    assert service.run("upgrade", service.name).code == 0
    assert service.states() == {2: "running"}
    assert program.ask() == "2"


def test_a_stop_comes_before_it(service: Service, program: Program) -> None:
    service.signal(signal.SIGTERM)
    outcome = service.run("upgrade", service.name)
    assert outcome.code in (1, 3)
    assert outcome.stderr.count("\n") == 1
    assert service.process.wait(30) == 0
