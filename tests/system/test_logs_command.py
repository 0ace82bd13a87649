"""`sockact logs` with a real journal: whose lines are shown, and of which generation."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support import wait
from tests.system import servers
from tests.system.units import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine
    from tests.system.conftest import Deploy
    from tests.system.service import Service

# A release with `broken` in its folder says why it does not start. It lives for a moment longer, in
# which the journal on a busy machine finds out which unit has written that.
TELLS = (
    'echo "to stdout"; if [ -e broken ]; then echo "no database"; sleep 0.3; exit 3; fi; exec "$@"'
)
UNITS = replace(
    servers.GUNICORN.units(),
    command=("/bin/sh", "-c", TELLS, "sh", *servers.GUNICORN.command),
)
FORGE = """
from systemd import journal
for unit in ("gunicorn.service", "sockact@gunicorn.service"):
    journal.send(
        "forged", SYSLOG_IDENTIFIER="gunicorn-1", SOCKACT_SERVICE="gunicorn",
        SOCKACT_GENERATION="1", SOCKACT_EVENT="serves", UNIT=unit, USER_UNIT=unit,
        _SYSTEMD_UNIT=unit, OBJECT_SYSTEMD_UNIT=unit, _UID="0", _PID="1", _TRANSPORT="stdout",
    )
"""


def logs(service: Service, *options: str) -> list[str]:
    """The messages of what is shown."""
    service.machine.run("journalctl", "--sync", check=True)
    said = service.run("sockact", "logs", service.name, "--json", *options).stdout
    return [json.loads(line)["message"] for line in said.splitlines()]


def handovers(service: Service) -> list[dict[str, Any]]:
    """Those that the supervisor remembers."""
    found = json.loads(service.run("sockact", "history", "--json", service.name).stdout)
    return [*found["handovers"]]


def break_release(service: Service, version: str) -> None:
    """Publish a release that does not start."""
    service.releases.publish(version)
    service.machine.run("touch", "/srv/app/current/broken", check=True)


@contextlib.contextmanager
def following(service: Service, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`sockact logs --follow`."""
    enter = service.machine.enter("--all", "--root", "--wd")
    words = ("env", "-i", "PATH=/usr/bin:/bin", "sockact", "logs", service.name, "-f", *options)
    with subprocess.Popen([*enter, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_generations_and_handovers(deploy: Deploy) -> None:
    service = deploy(UNITS)
    service.releases.publish("2")
    service.systemctl("reload", service.unit)
    break_release(service, "3")
    failed = service.run("sockact", "reload", service.name, check=False)
    assert failed.returncode == 1
    wait.until(lambda: "no database" in logs(service), "what it wrote", 30, 0.1)
    assert logs(service).count("to stdout") == 3
    assert any(line.startswith("Started gunicorn.service") for line in logs(service))

    for number, own, others in (
        ("1", ": serving", "no database"),
        ("3", "no database", ": serving"),
    ):
        found = logs(service, "--generation", number)
        assert found.count("to stdout") == 1
        assert [line for line in found if own in line]
        assert not [line for line in found if others in line]

    first, second = handovers(service)
    found = logs(service, "--handover", second["id"])
    # The supervisor and the program write at the same time.
    assert set(found[:3]) == {
        "generation 3: starting (reload: command)",
        "to stdout",
        "no database",
    }
    assert any("reload failed" in line for line in found)
    assert not [line for line in found if line.startswith("generation 2")]
    assert "no database" not in logs(service, "--handover", first["id"])
    assert "generation 1: drained" in logs(service, "--handover", first["id"])

    # The supervisor has kept nothing of it: there was nothing on standard error.
    said = service.run("sockact", "history", service.name).stdout
    assert said.endswith("  | to stdout\n  | no database\n")

    # A restart counts from 1 again.
    service.systemctl("restart", service.unit, check=False)
    (service.machine.path("/srv/app/current") / "broken").unlink()
    service.systemctl("restart", service.unit)
    found = logs(service, "--generation", "1")
    assert found.count("to stdout") == 1
    assert not [line for line in found if "drained" in line]


def test_how_many_and_since_when(deploy: Deploy) -> None:
    service = deploy(UNITS)
    everything = logs(service)
    assert logs(service, "-n", "2") == everything[-2:]
    assert logs(service, "--since", "10min") == everything
    assert logs(service, "--since", "today", "-n", "1") == everything[-1:]
    service.machine.run("sleep", "1.1", check=True)
    done = service.run("sockact", "logs", service.name, "--since", "1s")
    assert (done.stdout, done.stderr) == (
        "",
        "sockact: gunicorn: no lines found (looked for gunicorn.service)\n",
    )
    shown = service.run("sockact", "logs", service.name, "-n", "1").stdout
    assert shown.endswith(f": {everything[-1]}\n")


def test_a_new_line_arrives_and_the_end(deploy: Deploy) -> None:
    service = deploy(UNITS)
    with following(service) as process:
        assert process.stdout is not None
        while "Started gunicorn.service" not in process.stdout.readline():
            pass
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        while " gunicorn-2[" not in (line := process.stdout.readline()):
            pass
        assert line.endswith(": to stdout\n")
        (inside,) = psutil.Process(process.pid).children()
        inside.send_signal(signal.SIGINT)
        assert process.wait(wait.TIMEOUT) == -signal.SIGINT
    with following(service, "-n", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        # Nobody reads any more, and nothing is written that would tell.
        process.stdout.close()
        assert process.wait(wait.TIMEOUT) == 0


def test_nobody_else_can_write_its_lines(deploy: Deploy) -> None:
    service = deploy(UNITS)
    alone = ("systemd-run", "--quiet", "--wait", "--uid=daemon", "--service-type=exec")
    service.machine.run(*alone, "python3", "-c", FORGE, check=True)
    service.machine.run("journalctl", "--sync", check=True)
    there = service.machine.run("journalctl", "-o", "cat", "SOCKACT_SERVICE=gunicorn", check=True)
    assert "forged" in there.stdout
    assert "forged" not in logs(service)
    assert "forged" not in logs(service, "--generation", "1")
    service.systemctl("stop", service.socket, service.unit)
    assert "forged" not in logs(service)
    assert "Stopped gunicorn.service" in logs(service)[-1]


def test_who_may_not_read_is_told_who_may(deploy: Deploy) -> None:
    service = deploy(UNITS)
    done = service.machine.run("sockact", "logs", service.name, user="daemon")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "no lines found; only root and the group systemd-journal can read the system's journal\n"
    )


def test_without_an_identifier(deploy: Deploy) -> None:
    settings = ("SyslogIdentifier=as-it-was",)
    units = replace(UNITS, name="plain", options=("--identifier", ""), settings=settings)
    service = deploy(units)
    break_release(service, "2")
    service.run("sockact", "reload", service.name, check=False)
    wait.until(lambda: "no database" in logs(service), "what it wrote", 30, 0.1)
    done = service.run("sockact", "logs", service.name, "--generation", "2")
    assert "no database" not in logs(service, "--generation", "2")
    assert "cannot tell which lines generation 2 wrote" in done.stderr
    (handover,) = handovers(service)
    done = service.run("sockact", "logs", service.name, "--handover", handover["id"])
    assert "no database" in done.stdout
    assert "these are all lines from the time of the handover" in done.stderr


@pytest.fixture
def _reader(machine: Machine) -> Iterator[None]:
    """USER may read the journal. Of a user who is no system user, it has a part of its own."""
    machine.run("usermod", "-aG", "systemd-journal", USER, check=True)
    yield
    machine.run("gpasswd", "-d", USER, "systemd-journal", check=True)


@pytest.mark.usefixtures("user_manager", "_reader")
def test_a_service_of_a_user(deploy: Deploy) -> None:
    service = deploy(replace(UNITS, user_unit=True), user=USER)
    service.releases.publish("2")
    service.systemctl("reload", service.unit)
    (done,) = handovers(service)
    assert "to stdout" in logs(service)
    assert "to stdout" in logs(service, "--handover", done["id"])
    assert logs(service, "--generation", "2").count("to stdout") == 1
