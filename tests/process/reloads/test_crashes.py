"""Programs that end without being told to."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support import leaks, wait
from tests.support.helpers import helpers
from tests.support.program import GOOD, Hammer, Program, connect, read_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.deployment import Deployment
    from tests.support.service import Service

# The first one lives until it is known to be ready.
CRASH = """
accept_one = bound()
if os.environ["SOCKACT_GENERATION"] != "1":
    threading.Timer(0.15, os._exit, (9,)).start()
accept(accept_one)
"""

# Answers when there is a file.
HELD = """
def serve(connection):
    with connection:
        connection.recv(100)
        while not os.path.exists({path!r}):
            time.sleep(0.01)
        connection.sendall(VERSION)
"""


def latest(service: Service) -> dict[str, Any]:
    """The newest generation."""
    found: dict[str, Any] = service.status()["generations"][-1]
    return found


def latest_number(service: Service) -> int:
    return max(service.states(), default=0)


def running(service: Service, number: int) -> bool:
    return service.states() == {number: "running"}


def start_crashing(start: StartService, program: Program) -> Service:
    """Start a program whose launches all end soon."""
    service = start(program.command, listen=program.listen)
    os.kill(latest(service)["pid"], signal.SIGKILL)
    return service


def test_kill_fails_only_what_was_in_flight(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"slow 30")
        wait.until(lambda: latest(service)["connections"]["busy"], "the request to arrive")
        with Hammer(program.port) as hammer:
            hammer.wait_for("1")
            os.kill(latest(service)["pid"], signal.SIGKILL)
            wait.until(lambda: running(service, 2), "the next generation")
            hammer.wait_for("1")
        with pytest.raises(ConnectionError):
            read_all(client)
    # Of each client at most the request that the killed program was serving.
    assert len(hammer.failures) <= 2, hammer.failures
    assert not any("refused" in failure.lower() for failure in hammer.failures)


def test_nobody_is_refused_meanwhile(start: StartService, program: Program) -> None:
    """Connections wait in the queue of the listener until the next generation accepts."""
    service = start(program.command, listen=program.listen)
    first = psutil.Process(latest(service)["pid"])
    first.suspend()
    wait.until(lambda: first.status() == psutil.STATUS_STOPPED, "the program to stand still")
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", program.port)
        clients = [stack.enter_context(connect(address)) for _ in range(5)]
        first.kill()
        for client in clients:
            client.sendall(b"fast")
            assert read_all(client) == "1"


def test_crash_is_reported_once(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    os.kill(latest(service)["pid"], signal.SIGSEGV)
    wait.until(lambda: running(service, 2), "the next generation")
    lines = [line for line in service.stderr.splitlines() if "generation 1" in line]
    assert lines == [
        "sockact: test: generation 1: starting",
        "sockact: test: generation 1: serving",
        "sockact: test: generation 1: the program was killed by signal 11",
    ]


def test_crash_loop_backs_off_and_keeps_the_listener(start: StartService, program: Program) -> None:
    program.publish("1", CRASH)
    service = start_crashing(start, program)
    # After which it pauses for two seconds at least: all that follows happens in the pause.
    wait.until(lambda: latest_number(service) >= 7, "the seventh launch")
    wait.until(lambda: service.status()["generations"] == [], "a pause", interval=0.002)
    program.publish("2")
    assert service.status()["state"] == "backoff"
    # New clients wait in the queue; a reload to a fixed version is not delayed.
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        assert service.reload().code == 0, service.stderr
        assert read_all(client) == "2"
    assert service.status()["state"] == "serving"
    assert service.status()["handover"]["from"] is None
    service.notify.wait_for_status("backoff")


def test_backoff_grows(start: StartService, program: Program, folder: Path) -> None:
    launches = folder / "launches"
    program.publish(
        "1", f"open({str(launches)!r}, 'a').write(f'{{time.monotonic()}}\\n')\n" + CRASH
    )
    service = start_crashing(start, program)

    def times() -> list[float]:
        return [float(line) for line in launches.read_text().splitlines()]

    wait.until(lambda: len(times()) >= 7, "seven launches")
    gaps = [later - earlier for earlier, later in zip(times(), times()[1:], strict=False)]
    # At once after the first crash, then after 0.1, 0.2, 0.4 s and so on more than the program
    # lives, each up to a quarter shorter or longer. A busy machine makes any of them longer still.
    least = [0.0, *(0.15 + 0.75 * 0.1 * 2**number for number in range(5))]
    assert all(gap >= shortest for gap, shortest in zip(gaps, least, strict=False)), gaps
    assert gaps[5] > gaps[1]
    assert service.process.poll() is None


def test_refused_reload_in_a_crash_loop(start: StartService, program: Program) -> None:
    """systemd must be told the end of each reload, or the unit stays `reloading`."""
    program.publish("1", CRASH)
    service = start_crashing(start, program)
    wait.until(lambda: latest_number(service) >= 3, "the third launch")
    program.write("raise SystemExit(4)\n")
    wait.until(lambda: service.status()["generations"] == [], "a pause", interval=0.002)
    outcome = service.reload()
    assert outcome.code == 1
    assert "status 4" in outcome.stderr
    service.notify.wait_for("RELOADING", "1")
    service.notify.wait_for("READY", "1")
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert program.ask() == "2"


def test_ends_by_itself(start: StartService, program: Program) -> None:
    program.publish("1", "threading.Timer(0.4, os._exit, (0,)).start()\naccept(bound())\n")
    service = start(program.command, listen=program.listen)
    assert service.process.wait(5) == 0
    assert "exited by itself" in service.stderr


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise SystemExit(0)\n", 0),
        ("raise SystemExit(3)\n", 3),
        ("bound()\nraise SystemExit(4)\n", 4),
        ("os.kill(os.getpid(), signal.SIGKILL)\n", 137),
        ("os.abort()\n", 134),
    ],
)
def test_exit_code_of_a_failed_start(
    start: StartService, program: Program, body: str, code: int
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, ready=False)
    assert service.process.wait(10) == code
    assert "before it was ready" in service.stderr


def test_sigkill_of_the_supervisor_ends_the_program(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    pid = latest(service)["pid"]
    service.process.kill()
    assert service.process.wait() == -signal.SIGKILL
    assert wait.ended(pid)
    service.remove_sockets()


def test_starts_again_after_sigkill(start: StartService, program: Program, folder: Path) -> None:
    """The remains of a killed supervisor do not obstruct the next one."""
    path = folder / "app.sock"
    body = f"accept(bound({str(path)!r}, socket.AF_UNIX))\n"
    program.publish("1", body)
    service = start(program.command, listen=(str(path),))
    service.process.kill()
    service.process.wait()
    assert service.control in leaks.socket_files(service.runtime)
    # A systemd without a store: no duplicate of the listener is left there.
    service.notify.close()
    environment = {**os.environ, "SOCKACT_RUNTIME_DIR": str(service.runtime)}
    again = start(program.command, listen=(str(path),), environment=environment)
    assert again.states() == {1: "running"}
    service.remove_sockets()


def test_whole_generation_goes_when_its_first_process_is_killed(
    start_server: Callable[..., Deployment],
) -> None:
    """gunicorn's workers outlive their master, but not their generation."""
    pytest.importorskip("gunicorn")
    deployment = start_server("gunicorn sync", "--kill-timeout", "2s")
    service = deployment.service
    workers = latest(service)["pids"]
    os.kill(latest(service)["pid"], signal.SIGKILL)
    wait.until(lambda: running(service, 2), "the next generation")
    assert all(wait.ended(pid) for pid in workers)
    assert deployment.version() == "1"


def test_successor_survives_the_crash_of_its_predecessor(
    start: StartService, program: Program, folder: Path
) -> None:
    service = start(program.command, listen=program.listen)
    gate = folder / "gate"
    body = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\naccept(bound())\n"
    program.publish("2", body)
    service.signal(signal.SIGHUP)
    wait.until(lambda: len(service.states()) == 2, "the successor")
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    wait.until(lambda: len(service.states()) == 1, "the predecessor to be gone")
    gate.touch()
    assert program.ask() == "2"
    wait.until(lambda: running(service, 2), "the successor to serve")
    assert service.status()["handover"]["outcome"] == "committed"


DAEMON = """
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
accept(bound())
"""


def test_a_daemon_is_not_gone(start: StartService, program: Program) -> None:
    """Its processes end while they are being listed."""
    program.publish("1", DAEMON)
    service = start(program.command, listen=program.listen)
    for version in map(str, range(2, 12)):
        program.publish(version, DAEMON)
        assert service.reload("--wait-drained").code == 0, service.stderr
        assert program.ask() == version


def test_crash_of_a_daemon(start: StartService, program: Program) -> None:
    """Its first process exited cleanly long ago; this one does not."""
    program.publish("1", DAEMON)
    service = start(program.command, listen=program.listen)
    (daemon,) = latest(service)["pids"]
    os.kill(daemon, signal.SIGKILL)
    wait.until(lambda: running(service, 2), "the next generation")
    assert "generation 1: the program was killed by signal 9" in service.stderr


def test_successor_that_ends_by_itself_shows_its_stderr(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", "print('nothing to do', file=sys.stderr)\nraise SystemExit(0)\n")
    outcome = service.reload()
    assert outcome.code == 1
    assert "nothing to do" in outcome.stderr
    assert service.status()["handover"]["stderr"] == ["nothing to do"]


def test_want_of_descriptors_ends_nothing(start: StartService, program: Program) -> None:
    """Without descriptors the supervisor can neither read /proc nor launch."""
    service = start(program.command, listen=program.listen)
    pid = service.process.pid
    first = latest(service)["pid"]
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(first, signal.SIGKILL)
    wait.until(lambda: "cannot read /proc" in service.stderr, "it to look")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert program.ask() == "1"
    wait.until(lambda: "running" in service.states().values(), "the next generation")
    assert service.stderr.count("cannot read /proc") == 1


def test_drain_goes_on_after_want_of_descriptors(
    start: StartService, program: Program, folder: Path
) -> None:
    """A census that fails is repeated."""
    go = folder / "go"
    program.publish("1", HELD.format(path=str(go)) + GOOD)
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"held")
        wait.until(lambda: latest(service)["connections"]["busy"], "the request to arrive")
        program.publish("2")
        assert service.reload().code == 0
        (counts,) = helpers(service.process.pid)
        limits = resource.prlimit(counts, resource.RLIMIT_NOFILE)
        resource.prlimit(counts, resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            wait.until(lambda: "cannot count connections" in service.stderr, "a census to fail")
        finally:
            resource.prlimit(counts, resource.RLIMIT_NOFILE, limits)
        go.touch()
        assert read_all(client) == "1"
    service.wait_drained()
