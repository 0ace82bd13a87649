"""What systemd is told through NOTIFY_SOCKET (sd_notify(3)), and when."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import varlink, wait
from tests.support.program import Program, connect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.notify import Message
    from tests.support.service import Service


def drain(service: Service) -> list[Message]:
    """All messages up to now; a status call makes sure that what was due has been sent."""
    if service.process.poll() is None:
        service.status()
    while service.notify.receive(0):
        pass
    return service.notify.messages


def seen(service: Service, *names: str) -> list[tuple[str, str]]:
    """The fields of these names in the order in which they came."""
    return [pair for message in drain(service) for pair in message.fields if pair[0] in names]


def test_a_life_in_messages(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2")
    assert service.reload("--wait-drained").code == 0
    # The queue of a socket that nobody reads is short: net.unix.max_dgram_qlen.
    drain(service)
    program.write("raise SystemExit(1)\n")
    assert service.reload().code == 1
    drain(service)
    assert service.stop() == 0
    told = seen(service, "READY", "RELOADING", "STOPPING")
    assert told == [
        ("READY", "1"),
        ("RELOADING", "1"),
        ("READY", "1"),
        ("RELOADING", "1"),
        ("READY", "1"),
        ("STOPPING", "1"),
    ]
    assert {message.pid for message in service.notify.messages} == {service.process.pid}


def test_reloading_carries_its_time(start: StartService, program: Program) -> None:
    """In the same datagram, and not before the reload was asked for."""
    service = start(program.command, listen=program.listen)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert service.reload().code == 0
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    message = service.notify.wait_for("RELOADING", "1")
    assert before <= int(message.get("MONOTONIC_USEC") or 0) <= after


def test_systemd_is_not_told_of_its_own_reload(start: StartService, program: Program) -> None:
    """It has $MAINPID in the environment of ExecReload=; that of another service is no sign."""
    service = start(program.command, listen=program.listen)
    service.environment["MAINPID"] = str(service.process.pid)
    assert service.reload().code == 0
    drain(service)
    assert not [m for m in service.notify.messages if m.get("RELOADING")]
    service.environment["MAINPID"] = "1"
    assert service.reload().code == 0
    service.notify.wait_for("RELOADING", "1")


def test_not_ready_before_it_accepts(start: StartService, program: Program) -> None:
    program.publish("1", "found = bound()\ntime.sleep(0.5)\naccept(found)\n")
    started = time.monotonic()
    service = start(program.command, listen=program.listen)
    assert service.notify.messages[-1].time - started > 0.5
    assert ("READY", "1") in service.notify.messages[-1].fields
    assert len([m for m in service.notify.messages if m.get("READY")]) == 1


def test_status_tells_of_generations_and_failures(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    drain(service)
    assert service.notify.messages[-1].get("STATUS") == "serving; generation 1 running"
    program.write("raise SystemExit(7)\n")
    assert service.reload().code == 1
    wait.until(lambda: len(service.states()) == 1, "the failed one to be gone")
    status = drain(service)[-1].get("STATUS") or ""
    assert status.startswith("serving; generation 1 running; last reload failed")
    assert "status 7" in status
    assert "\n" not in status


def test_status_tells_of_the_last_reload_that_succeeded(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen)
    drain(service)
    assert service.reload().code == 0
    service.wait_drained()
    status = drain(service)[-1].get("STATUS") or ""
    told = r"serving; generation 2 running; last reload: switched from 1 to 2 in \d+\.\d\d s"
    assert re.fullmatch(told, status)


def test_time_is_extended_while_work_goes_on(
    start: StartService, program: Program, folder: Path
) -> None:
    gate = folder / "gate"
    program.publish(
        "1", f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\naccept(bound())\n"
    )
    service = start(program.command, listen=program.listen, ready=False)
    start_extension = service.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    assert int(start_extension.get("EXTEND_TIMEOUT_USEC") or 0) >= 10_000_000
    assert not any(message.get("READY") for message in service.notify.messages)
    gate.touch()
    service.notify.wait_for("READY", "1")


def test_each_piece_of_work_asks_for_time_at_once(start: StartService, program: Program) -> None:
    """And not only when that of the one before would have asked again: TimeoutStopSec= may be
    short.
    """
    service = start(program.command, listen=program.listen)
    assert service.reload("--wait-drained").code == 0
    assert service.stop() == 0
    messages = drain(service)
    for name in ("RELOADING", "STOPPING"):
        at = next(n for n, message in enumerate(messages) if message.get(name))
        assert messages[at + 1].get("EXTEND_TIMEOUT_USEC"), messages


@pytest.mark.slow
def test_time_is_extended_during_a_drain(start: StartService, program: Program) -> None:
    """And again before the first extension is over."""
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"slow 30")
        service.signal(signal.SIGTERM)
        stopping = service.notify.wait_for("STOPPING", "1")
        first = service.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
        second = service.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
        assert first.time - stopping.time < 6
        length = int(first.get("EXTEND_TIMEOUT_USEC") or 0) / 1_000_000
        assert second.time - first.time < length / 2
        service.signal(signal.SIGQUIT)
        assert service.process.wait(5) == 0


def test_watchdog(start: StartService, program: Program) -> None:
    environment = {**os.environ, "WATCHDOG_USEC": "400000"}
    service = start(program.command, listen=program.listen, environment=environment)
    times = [service.notify.wait_for("WATCHDOG", "1").time for _ in range(4)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(0.15 < gap < 0.35 for gap in gaps[1:]), gaps


def test_watchdog_of_another_process(start: StartService, program: Program) -> None:
    environment = {**os.environ, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    service = start(program.command, listen=program.listen, environment=environment)
    assert service.notify.receive(0.3) is None


def test_idle_means_silent(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    drain(service)
    assert service.notify.receive(0.5) is None


def test_nothing_of_the_program_reaches_systemd(
    start: StartService, program: Program, folder: Path
) -> None:
    """It has no NOTIFY_SOCKET, and its own messages to a guessed one come from another pid."""
    told = folder / "told"
    program.publish(
        "1",
        f"open({str(told)!r}, 'w').write(os.environ.get('NOTIFY_SOCKET', 'none'))\n"
        "accept(bound())\n",
    )
    service = start(program.command, listen=program.listen)
    assert told.read_text() == "none"
    assert {message.pid for message in drain(service)} == {service.process.pid}


def test_receiver_that_is_gone_stops_nobody(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    service.notify.close()
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert program.ask() == "2"


def test_receiver_that_does_not_read_stops_nobody(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    for _ in range(8):
        assert varlink.call(service.control, "Reload")["handover"]["outcome"] == "committed"
    assert program.ask() == "1"
