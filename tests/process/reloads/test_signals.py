"""Signals and the commands `reload` and `stop`, alone and combined."""

from __future__ import annotations

import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support import varlink, wait
from tests.support.program import Hammer, Program, connect, read_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.conftest import StartService
    from tests.support.deployment import Deployment
    from tests.support.service import Service

# Listens only when it is told to by a file.
WAITING = "while not os.path.exists({path!r}): time.sleep(0.01)\naccept(bound())\n"


@pytest.fixture
def service(start: StartService, program: Program) -> Service:
    return start(program.command, listen=program.listen)


def test_sighup_reloads(service: Service, program: Program) -> None:
    program.publish("2")
    with Hammer(program.port) as hammer:
        service.signal(signal.SIGHUP)
        service.notify.wait_for("RELOADING", "1")
        service.notify.wait_for("READY", "1")
        hammer.wait_for("2")
    assert hammer.failures == []


def test_sigusr1_is_harmless(service: Service, program: Program) -> None:
    service.signal(signal.SIGUSR1)
    wait.until(lambda: "SIGUSR1" in service.stderr, "the message")
    assert program.ask() == "1"
    assert service.states() == {1: "running"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drains_and_stops(service: Service, program: Program, number: signal.Signals) -> None:
    with program.in_flight(2) as client:
        service.wait_busy()
        service.signal(number)
        service.notify.wait_for("STOPPING", "1")
        assert read_all(client) == "1"
    assert service.process.wait(5) == 0


def test_refuses_new_clients_while_it_stops(service: Service, program: Program) -> None:
    """Nobody would serve them, so they are refused at once, not after the drain."""
    with program.in_flight(4) as client:
        service.wait_busy()
        service.signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                connect(("127.0.0.1", program.port), timeout=0.2).close()
            except ConnectionRefusedError:
                return True
            return False

        wait.until(refused, "the listener to be closed")
        assert not wait.readable(client.fileno(), timeout=0), "the drain is over"
        assert read_all(client) == "1"


def test_second_sigterm_shortens_the_drain_to_the_kill_timeout(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen, options=("--kill-timeout", "500ms"))
    with program.in_flight(30) as long, program.in_flight(0.2) as short:
        service.wait_busy(2)
        service.signal(signal.SIGTERM)
        service.notify.wait_for("STOPPING", "1")
        service.signal(signal.SIGTERM)
        assert read_all(short) == "1", "what is over by then is served"
        assert service.process.wait(10) == 0
        with pytest.raises(ConnectionError):
            read_all(long)


def test_sigquit_stops_now(service: Service, program: Program) -> None:
    with program.in_flight(30):
        service.wait_busy()
        service.signal(signal.SIGQUIT)
        assert service.process.wait(5) == 0


def test_stop_now_kills_what_ignores_sigterm(start: StartService, program: Program) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\naccept(bound())\n"
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=("--kill-timeout", "300ms"))
    assert service.stop("--now") == 0


def test_drain_timeout_ends_a_drain(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=("--drain-timeout", "300ms"))
    with program.in_flight(30):
        service.wait_busy()
        assert service.stop() == 0
    assert "drain timeout" in service.stderr


def test_stop_waits_for_the_end(service: Service, program: Program) -> None:
    with program.in_flight(1) as client:
        service.wait_busy()
        outcome = service.run("stop", service.name)
        assert outcome.code == 0
        assert service.process.wait(5) == 0
        assert read_all(client) == "1"


@pytest.mark.parametrize("ask", ["SIGTERM", "SIGINT", "SIGQUIT", "stop", "stop --now"])
def test_stop_during_a_pending_start(
    start: StartService, program: Program, folder: Path, ask: str
) -> None:
    program.publish("1", WAITING.format(path=str(folder / "never")))
    service = start(program.command, listen=program.listen, ready=False)
    wait.until(service.control.exists, "the control socket")
    if ask.startswith("SIG"):
        service.signal(signal.Signals[ask])
    else:
        assert service.run(*ask.split()[:1], service.name, *ask.split()[1:]).code == 0
    assert service.process.wait(5) == 0


def test_signals_before_the_loop_runs(start: StartService, program: Program) -> None:
    """They are held back, so nothing is left behind whenever one arrives."""
    for _ in range(3):
        service = start(program.command, listen=program.listen, ready=False)
        wait.until(service.runtime.exists, "the runtime folder", interval=0.001)
        service.signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
        # The listener was in its messages, and would keep the address in use.
        service.close()


def begin_reload(service: Service) -> socket.socket:
    """Begin a reload; returns when the supervisor knows of it."""
    sock = varlink.begin(service.control, "Reload")
    service.status()
    return sock


def handover(reload: socket.socket) -> dict[str, Any]:
    """Its outcome."""
    with reload:
        try:
            found: dict[str, Any] = varlink.finish(reload)["handover"]
        except varlink.VarlinkError as error:
            found = error.parameters["handover"]
    return found


def test_reloads_while_one_is_under_way_are_one(
    service: Service, program: Program, folder: Path
) -> None:
    gate = folder / "gate"
    program.publish("2", WAITING.format(path=str(gate)))
    first, *others = [begin_reload(service) for _ in range(3)]
    service.signal(signal.SIGHUP)
    service.signal(signal.SIGHUP)
    service.status()
    gate.touch()
    done = handover(first)
    assert (done["id"], done["to"], done["outcome"]) == (1, 2, "committed")
    for other in others:
        done = handover(other)
        assert (done["id"], done["to"], done["outcome"]) == (2, 3, "committed")
    service.wait_drained()
    assert service.states() == {3: "running"}


def test_queued_reload_follows_a_refused_one(
    service: Service, program: Program, folder: Path
) -> None:
    gate, launched = folder / "gate", folder / "launched"
    program.publish(
        "2",
        f"open({str(launched)!r}, 'w').close()\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "exit(7)\n",
    )
    first, second = begin_reload(service), begin_reload(service)
    wait.until(launched.exists, "the program to have been read")
    program.publish("3")
    gate.touch()
    refused = handover(first)
    assert (refused["id"], refused["outcome"]) == (1, "failed")
    assert "status 7" in refused["reason"]
    assert handover(second)["outcome"] == "committed"
    assert program.ask() == "3"


def test_a_reload_is_done_when_the_predecessor_no_longer_accepts(
    start: StartService, program: Program
) -> None:
    """A client that connects after that reaches the new release. With lanes, the program need not
    be waited for.
    """
    service = start(program.command, listen=program.listen, options=("--lanes", "off"))
    program.publish("2")
    before = service.status()["generations"][0]["pids"][0]
    os.kill(before, signal.SIGSTOP)
    try:
        with begin_reload(service) as reload:
            wait.until(lambda: service.states().get(2) == "running", "the successor")
            assert gate_of(service, 1) == "closing"
            assert not select.select([reload], [], [], 0)[0]
            os.kill(before, signal.SIGCONT)
            assert handover(reload)["outcome"] == "committed"
            assert program.ask() == "2"
    finally:
        with suppress(ProcessLookupError):
            os.kill(before, signal.SIGCONT)


def gate_of(service: Service, number: int) -> str:
    """Its state, in the words of the status."""
    generations = service.status()["generations"]
    return next(str(g["gate"]) for g in generations if g["number"] == number)


def test_wait_drained(service: Service, program: Program) -> None:
    program.publish("2")
    with program.in_flight(2) as client:
        service.wait_busy()
        outcome = service.reload("--wait-drained", "--json")
        assert wait.readable(client.fileno(), timeout=0), "it did not wait"
        assert outcome.code == 0
        handover = outcome.json()
        assert (handover["from"], handover["to"], handover["drained"]) == (1, 2, True)
        assert service.states() == {2: "running"}
        assert read_all(client) == "1"


def test_wait_drained_tells_its_own_handover(service: Service, program: Program) -> None:
    program.publish("2")
    with ThreadPoolExecutor(1) as pool, program.in_flight(2):
        service.wait_busy()
        first = pool.submit(service.reload, "--wait-drained", "--json")
        wait.until(lambda: service.states().get(2) == "running", "the first reload")
        assert service.reload("--json").json()["id"] == 2
        handover = first.result().json()
        assert (handover["id"], handover["to"], handover["drained"]) == (1, 2, True)


def test_wait_drained_when_the_predecessor_died(
    service: Service, program: Program, folder: Path
) -> None:
    gate = folder / "gate"
    program.publish("2", WAITING.format(path=str(gate)))
    reload = varlink.begin(service.control, "Reload", {"wait_drained": True}, timeout=5)
    pid = service.status()["generations"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: 1 not in service.states(), "generation 1 to be gone")
    gate.touch()
    done = handover(reload)
    assert (done["outcome"], done["drained"]) == ("committed", True)
    assert service.status()["handover"]["drained"] is True


def test_reload_while_stopping_is_refused(service: Service, program: Program) -> None:
    with program.in_flight(4) as client:
        service.wait_busy()
        service.signal(signal.SIGTERM)
        service.notify.wait_for("STOPPING", "1")
        outcome = service.reload()
        assert not wait.readable(client.fileno(), timeout=0), "it waited for the drain"
        assert outcome.code == 1
        assert "is stopping" in outcome.stderr
        service.signal(signal.SIGHUP)
        assert list(service.states()) == [1]
    assert service.process.wait(10) == 0


def test_stop_ends_the_reloads_that_wait(service: Service, program: Program, folder: Path) -> None:
    """The current and the queued reload are answered when the stop begins."""
    program.publish("2", WAITING.format(path=str(folder / "never")))
    with program.in_flight(2) as client:
        service.wait_busy()
        reloads = [begin_reload(service) for _ in range(2)]
        service.signal(signal.SIGTERM)
        for number, reload in enumerate(reloads, 1):
            done = handover(reload)
            assert (done["id"], done["outcome"]) == (number, "failed")
            assert "stopping" in done["reason"]
        assert service.process.poll() is None
        assert read_all(client) == "1"


def test_gunicorn_ends_in_time(start_server: Callable[..., Deployment]) -> None:
    service = start_server("gunicorn sync", "--kill-timeout", "3s").service
    assert service.stop() == 0
    assert "SIGKILL" not in service.stderr
