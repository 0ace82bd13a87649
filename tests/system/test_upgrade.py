"""Another version of sockact is installed, and running services go on with it: no restart, no
client notices, for services of other users and under all the hardening.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.servers.apps import answers
from tests.system import servers
from tests.system.killing import wait_other_main
from tests.system.test_fdstore import stored

if TYPE_CHECKING:
    from tests.support.machine import Machine
    from tests.system.conftest import Deploy
    from tests.system.servers import Server
    from tests.system.service import Service

PACKAGE = "/usr/lib/python3/dist-packages/sockact"


def install(machine: Machine, version: str) -> None:
    """Install another version as a package manager does: new files replace the old ones."""
    machine.write(f"{PACKAGE}/__init__.py", f'__version__ = "{version}"\n')
    machine.run("python3", "-m", "compileall", "-q", PACKAGE, check=True)
    assert machine.run("sockact", "--version").stdout == f"sockact {version}\n"


def goes_on(service: Service, before: int) -> None:
    """Check that nothing has changed for systemd."""
    assert service.main_pid == before
    assert service.show("NRestarts") == "0"
    assert service.show("ActiveState") == "active"


@pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.name)
def test_no_client_notices_an_upgrade(machine: Machine, deploy: Deploy, server: Server) -> None:
    install(machine, "1.0")
    service = deploy(server.units("WatchdogSec=2s"))
    before = service.main_pid
    generation = service.status()["generations"][0]
    with service.load(*servers.SHORT, server.long) as load:
        install(machine, "1.0.1")
        done = service.run("sockact", "upgrade", "--all")
        assert done.stdout == f"{service.name}: upgraded from sockact 1.0 to 1.0.1\n"
        status = service.status()
        assert (status["version"], status["pid"]) == ("1.0.1", before)
        assert status["generations"][0]["pid"] == generation["pid"]
        goes_on(service, before)
        # Long requests are still being served, by a generation that the old version has launched.
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        install(machine, "1.0.10")
        service.run("sockact", "upgrade", service.name)
        assert service.status()["version"] == "1.0.10"
        assert service.ask() == answers.fast("2").decode()
        service.wait_status_text("^serving; generation 2 running")
        service.releases.publish("3")
        service.systemctl("reload", service.unit)
        assert service.ask() == answers.fast("3").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "2", "3"}
    goes_on(service, before)
    service.wait_journal("upgraded in place from 1.0 to 1.0.1")
    # The watchdog timeout has long expired.
    service.systemctl("stop", service.unit)
    assert service.show("Result") == "success"


def test_a_broken_package_changes_nothing(machine: Machine, deploy: Deploy) -> None:
    install(machine, "1.0")
    service = deploy(servers.GUNICORN.units())
    before = service.main_pid
    module = machine.path(f"{PACKAGE}/supervisor/base/loop.py")
    text = module.read_text()
    with service.load(*servers.SHORT) as load:
        machine.write(f"{PACKAGE}/supervisor/base/loop.py", "import absent\n")
        try:
            done = service.run("sockact", "upgrade", "--all", check=False)
        finally:
            machine.write(f"{PACKAGE}/supervisor/base/loop.py", text)
        report = load.stop()
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "gunicorn: not upgraded: the installed version cannot take over: ModuleNotFound"
        in done.stderr
    )
    assert not report.failures(), report.explain()
    goes_on(service, before)
    service.wait_journal("still running version")
    assert service.run("sockact", "upgrade", "--all").returncode == 0


def test_the_file_descriptor_store_is_kept(machine: Machine, deploy: Deploy) -> None:
    install(machine, "1.0")
    service = deploy(replace(servers.GUNICORN.units(), socket=False))
    before = service.main_pid
    assert stored(service) == 2
    install(machine, "1.0.1")
    service.run("sockact", "upgrade", service.name)
    assert stored(service) == 2
    goes_on(service, before)
    service.kill(before)
    wait_other_main(service, before)
    assert service.ask() == answers.fast("1").decode()
