"""Hooks and versions under systemd: output of a reload, journal, and stop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.system import servers

if TYPE_CHECKING:
    from tests.system.conftest import Deploy

# Fails for the second generation.
REGISTER = "sh -c 'test $SOCKACT_GENERATION = 1 || { echo the pool is full; exit 5; }'"
LEAVE = "sh -c 'sleep 17; echo $SOCKACT_VERSION >> $STATE_DIRECTORY/left'"


def test_a_reload_fails_with_its_hook(deploy: Deploy) -> None:
    options = ("--on", f"running={REGISTER}")
    service = deploy(replace(servers.GUNICORN.units(), options=options))
    first = service.status()["generations"][0]["version"]
    assert first
    service.releases.publish("2")
    done = service.systemctl("reload", service.unit, check=False)
    assert done.returncode != 0
    assert service.ask() == answers.fast("1").decode()
    assert service.show("ActiveState") == "active"
    words = ("-u", service.unit, "SOCKACT_EVENT=hook", "-o", "json", "--no-pager")
    line = json.loads(service.machine.run("journalctl", *words, check=True).stdout)
    assert line["MESSAGE"].endswith(": exited with status 5: the pool is full")
    assert line["SOCKACT_GENERATION"] == "2"
    assert line["SOCKACT_VERSION"] not in ("", first)
    assert len(line["SOCKACT_HANDOVER"]) == 32


def test_a_stop_waits_longer_than_timeout_stop_sec(deploy: Deploy) -> None:
    """Longer than the time as well that systemd was asked for before the last process ended."""
    options = ("--on", f"drained={LEAVE}", "--hook-timeout", "30s")
    units = servers.GUNICORN.units("TimeoutStopSec=2")
    service = deploy(replace(units, options=options))
    version = service.status()["generations"][0]["version"]
    service.systemctl("stop", service.unit)
    assert service.show("Result") == "success"
    left = f"/var/lib/sockact/{service.name}/left"
    assert service.machine.run("cat", left, check=True).stdout.strip() == version
