"""The hook of a canary: it is told each share, and nothing waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.process.lanes.test_canary import LANES, begin, canary
from tests.support import varlink, wait
from tests.support.hooks import Told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program

FACTS = ("share", "step", "steps")


def told_of(told: Told) -> list[list[Any]]:
    return [[one["stdin"][key] for key in FACTS] for one in told.notes()]


def test_each_share_is_told(start: StartService, program: Program, folder: Path) -> None:
    told = Told(folder, "canary")
    version = ("--release-version", f"exec:cat {folder}/version")
    (folder / "version").write_text("2.0\n")
    options = (*LANES, *told.options, *version)
    service = start(program.command, listen=program.listen, options=options)
    assert service.reload("--canary", "2.5% 1s, 60% 1s").code == 0
    wait.until(lambda: len(told.notes()) == 3, "the hooks")
    assert told_of(told) == [[2.5, 1, 2], [60, 2, 2], [100, None, None]]
    assert {one["stdin"]["generation"] for one in told.notes()} == {2}
    first = told.notes()[0]["told"]
    assert {key: first[f"SOCKACT_{key}"] for key in ("EVENT", "GENERATION", "VERSION")} == {
        "EVENT": "canary",
        "GENERATION": "2",
        "VERSION": "2.0",
    }
    assert [first[f"SOCKACT_{key.upper()}"] for key in FACTS] == ["2.5", "1", "2"]
    last = told.notes()[2]["told"]
    assert last["SOCKACT_SHARE"] == "100"
    assert "SOCKACT_STEP" not in last


def test_by_hand_and_back(start: StartService, program: Program, folder: Path) -> None:
    """A canary that ends without clients has the hooks `failed` and `draining`."""
    told = Told(folder, "canary", "failed")
    service = start(program.command, listen=program.listen, options=(*LANES, *told.options))
    begin(service)
    told.wait_for("canary", 2)
    assert service.run("canary", service.name, "25%").code == 0
    wait.until(lambda: len(told.notes()) == 2, "the hook")
    assert service.run("rollback", service.name).code == 0
    told.wait_for("failed", 2)
    assert told_of(told) == [[50, 1, 1], [25, 1, 1], [None, None, None]]


def test_nothing_waits_for_it(start: StartService, program: Program, folder: Path) -> None:
    """Of the shares that come while it runs, it is told the last one."""
    told = Told(folder, "canary")
    told.does("canary", "import time\nwhile not os.path.exists(FOLDER + '/go'): time.sleep(0.01)")
    service = start(program.command, listen=program.listen, options=(*LANES, *told.options))
    begin(service)
    told.wait_for("canary", 2)
    for share in range(1, 50):
        varlink.call(service.control, "SetShare", {"share": 10 * share})
    found = canary(service)
    assert found is not None
    assert found["share"] == 490
    (folder / "go").touch()
    wait.until(lambda: len(told.notes()) == 2, "the hook")
    assert told_of(told)[1] == [49, 1, 1]
    assert service.run("promote", service.name).code == 0
    wait.until(lambda: len(told.notes()) == 3, "the last hook")


def test_a_hook_that_fails_is_reported(start: StartService, program: Program, folder: Path) -> None:
    told = Told(folder, "canary")
    told.does("canary", "sys.exit('no such pool')")
    service = start(program.command, listen=program.listen, options=(*LANES, *told.options))
    assert service.reload("--canary", "50% 1s").code == 0
    wait.until(lambda: service.stderr.count("hook for canary failed: ") == 2, "the reports")
    assert "  hook failed: canary (generation 2): " in service.run("history").stdout
