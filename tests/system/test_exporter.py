"""The exporter in its own units, and the id of a handover in the journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client
import pytest

from sockact.units.render import exporter_units
from tests.system import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine
    from tests.system.conftest import Deploy

UNITS = servers.GUNICORN.units()
FOLDER = "/etc/systemd/system"
PACKAGES = "/usr/lib/python3/dist-packages"
URL = f"http://{exporter_units.ADDRESS}/metrics"


@pytest.fixture
def exporter(machine: Machine) -> Iterator[None]:
    """Its socket listens; nothing of it runs yet."""
    module = machine.path(f"{PACKAGES}/prometheus_client")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(prometheus_client.__file__).parent, module, ignore=ignore)
    files = exporter_units.files("/usr/bin/sockact")
    for name, text in files.items():
        machine.write(f"{FOLDER}/{name}", text)
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("start", "sockact-exporter.socket", check=True)
    yield
    machine.systemctl("stop", *files, check=True)
    for name in files:
        machine.path(f"{FOLDER}/{name}").unlink()
    machine.systemctl("daemon-reload", check=True)
    shutil.rmtree(module)


@pytest.mark.usefixtures("exporter")
def test_it_is_started_by_a_scrape_and_asks_all(machine: Machine, deploy: Deploy) -> None:
    service = deploy(UNITS)
    service.releases.publish("2")
    service.systemctl("reload", service.unit)
    name = f'service="{service.name}"'
    page = machine.run("curl", "-sSf", "-m", "20", URL, check=True).stdout
    said = machine.journal("sockact-exporter.service")
    assert f"sockact_up{{{name}}} 1.0" in page.splitlines(), (page, said)
    committed = f'sockact_handovers_total{{kind="reload",outcome="committed",{name}}} 1.0'
    assert committed in page.splitlines()
    assert "sockact: exporter:" not in said


def test_the_journal_has_the_id_of_the_handover(machine: Machine, deploy: Deploy) -> None:
    service = deploy(UNITS)
    service.releases.publish("2")
    service.run("sockact", "reload", "--wait-drained", service.name)
    service.systemctl("reload", service.unit)
    told = json.loads(service.run("sockact", "history", "--json", service.name).stdout)
    # Its state directory may be there from another test.
    first, second = told["handovers"][-2:]
    assert (first["cause"], second["cause"]) == ("command", "unit")
    machine.run("journalctl", "--sync", check=True)
    match = f"SOCKACT_HANDOVER={first['id']}"
    lines = service.run("journalctl", match, "-o", "json", "--no-pager").stdout.splitlines()
    events = [json.loads(line)["SOCKACT_EVENT"] for line in lines]
    assert events[:2] == ["note", "serves"]
    assert events[-1] == "drained"
    assert {json.loads(line)["SOCKACT_GENERATION"] for line in lines} == {"1", "2"}
