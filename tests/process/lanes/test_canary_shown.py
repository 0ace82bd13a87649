"""A canary as commands, the exporter and systemd show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.process.control.test_exporter import promtool
from tests.process.control.test_progress import ERASED, on_terminal
from tests.process.lanes.test_canary import LANES, begin
from tests.support.exporter import Exporter

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.program import Program


def test_its_progress_on_a_terminal(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    with on_terminal(service, "reload", "--canary", "20% 1h, 90% 1h", "test") as terminal:
        terminal.wait_for("test: canary: 20 % of new clients, step 1 of 2, up to ")
        assert service.run("canary", service.name, "60%").code == 0
        terminal.wait_for("test: canary: 60 % of new clients, until it is promoted")
        assert service.run("promote", service.name).code == 0
        assert terminal.end().startswith("test: generation 2 is serving")
    assert terminal.seen.endswith(ERASED)


def test_systemd_is_told_its_share_and_the_time_left(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, "2.5% 1min")
    status = service.notify.wait_for_status("generation 2 canary").get("STATUS") or ""
    assert "generation 2 canary, 2.5% of new clients (up to " in status
    assert status.endswith(" s left)")


def test_it_is_listed(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service)
    assert "  canary 50 %  2  " in service.run("list").stdout
    assert service.run("rollback", service.name).code == 0
    assert "  serving  1  " in service.run("list").stdout


def test_its_metrics(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, "2.5% 1h")
    with Exporter(service.runtime) as exporter:
        page = exporter.page()
    listener = service.status()["listeners"][0]
    lane = f'address="{listener["address"]}",lane="0",listener="{listener["name"]}",service="test"'
    for line in (
        'sockact_canary_share_ratio{generation="2",service="test",version=""} 0.025',
        'sockact_canary_step{service="test"} 1.0',
        'sockact_canaries_total{outcome="refused",service="test"} 0.0',
        f"sockact_lane_share_ratio{{{lane}}} 0.975",
    ):
        assert line in page.splitlines(), page
    assert promtool("check", "metrics", given=page) == ""
