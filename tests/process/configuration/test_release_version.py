"""The version of a release, from its launch to wherever it is shown."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import varlink, wait
from tests.support.hooks import Told
from tests.support.program import Program, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service


def versions(service: Service) -> dict[int, str]:
    return {one["number"]: one["version"] for one in service.status()["generations"]}


def source(value: str) -> tuple[str, ...]:
    return ("--release-version", value)


def test_where_it_is_shown(start: StartService, program: Program, folder: Path) -> None:
    file = folder / "VERSION"
    file.write_text("1.4.1\n")
    service = start(program.command, listen=program.listen, options=source(f"file:{file}"))
    assert "generation 1: serving; version 1.4.1" in service.stderr
    file.write_text("1.4.2\n")
    assert service.reload("--wait-drained").code == 0
    assert versions(service) == {2: "1.4.2"}
    lines = service.run("status", "test").stdout.splitlines()
    assert "  2           running, version 1.4.2" in lines
    assert "reload 1 (1.4.1) to 2 (1.4.2) (command), succeeded" in service.run("history").stdout
    assert " s); version 1.4.2\n" in service.stderr
    (record,) = varlink.call(service.control, "History")["handovers"]
    assert (record["from_version"], record["to_version"]) == ("1.4.1", "1.4.2")


def test_a_release_behind_a_link_needs_no_option(
    start: StartService, program: Program, folder: Path
) -> None:
    for name in ("one", "two"):
        (folder / "releases" / name).mkdir(parents=True)
    link = folder / "current"
    link.symlink_to("releases/one")
    service = start(program.command, listen=program.listen, options=("--directory", str(link)))
    assert versions(service) == {1: "one"}
    link.unlink()
    link.symlink_to("releases/two")
    assert service.reload("--wait-drained").code == 0
    assert versions(service) == {2: "two"}


def test_an_unknown_version_fails_nothing(
    start: StartService, program: Program, folder: Path
) -> None:
    service = start(program.command, listen=program.listen, options=source("file:/nowhere"))
    for _ in range(2):
        assert service.reload().code == 0
    assert versions(service)[3] == ""
    assert service.stderr.count("its version is unknown: ") == 1
    assert "its version is unknown: /nowhere: No such file or directory\n" in service.stderr
    assert "  3           running\n" in service.run("status", "test").stdout


def test_a_command_in_the_directory_of_the_generation(
    start: StartService, program: Program, folder: Path
) -> None:
    release = folder / "a release"
    release.mkdir()
    value = 'exec:basename "$PWD"; echo more; yes | head -c 200000; exit 0'
    options = (*source(value), "--directory", str(release))
    service = start(program.command, listen=program.listen, options=options)
    wait.until(lambda: versions(service) == {1: "a release"}, "its version")


@pytest.mark.parametrize("value", ["exec:echo no tag; exit 3", "exec:/nowhere/at/all", "exec:'"])
def test_a_command_that_fails(start: StartService, program: Program, value: str) -> None:
    service = start(program.command, listen=program.listen, options=source(value))
    wait.until(lambda: "its version is unknown: " in service.stderr, "the notice")
    assert service.reload().code == 0
    assert versions(service)[2] == ""


def test_a_slow_command_is_waited_for_by_hooks_alone(
    start: StartService, program: Program, folder: Path
) -> None:
    told = Told(folder, "running")
    value = f"exec:while ! test -e {folder}/free; do sleep 0.02; done; echo late"
    service = start(program.command, listen=program.listen, options=(*source(value), *told.options))
    assert program.ask() == "1"
    assert (versions(service), told.events()) == ({1: ""}, [])
    (folder / "free").touch()
    assert told.wait_for("running", 1)["stdin"]["version"] == "late"
    assert versions(service) == {1: "late"}
    assert "generation 1: version late" in service.stderr


def test_a_command_that_hangs_ends_with_the_service(
    start: StartService, program: Program, folder: Path
) -> None:
    value = f"exec:echo $$ > {folder}/pid; sleep 600"
    service = start(program.command, listen=program.listen, options=source(value))
    assert service.stop("--now") == 0
    assert wait.ended(int((folder / "pid").read_text()))


def test_hooks_of_one_that_ends_before_its_version_is_known(
    start: StartService, program: Program, folder: Path
) -> None:
    told = Told(folder, "pending", "failed")
    value = f"exec:test ! -e {folder}/slow || sleep 600"
    service = start(program.command, listen=program.listen, options=(*source(value), *told.options))
    (folder / "slow").touch()
    program.write("raise SystemExit(3)")
    assert service.reload().code == 1
    told.wait_for("failed", 2)
    assert service.stop() == 0
    assert told.events() == [("pending", 1), ("pending", 2), ("failed", 2)]


def test_lines_as_json(start: StartService, program: Program, folder: Path) -> None:
    file = folder / "VERSION"
    file.write_text("1\n")
    options = (*source(f"file:{file}"), "--log-format", "json")
    service = start(program.command, listen=program.listen, options=options)
    file.write_text('quote " and \x1b\n')
    assert service.reload("--wait-drained").code == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in service.stderr.splitlines()]
    (record,) = varlink.call(service.control, "History")["handovers"]
    assert [(one["SOCKACT_EVENT"], one["SOCKACT_GENERATION"]) for one in lines][:2] == [
        ("note", "1"),
        ("serves", "1"),
    ]
    ours = [one for one in lines if one.get("SOCKACT_HANDOVER")]
    assert {one["SOCKACT_HANDOVER"] for one in ours} == {record["id"]}
    assert [one["SOCKACT_EVENT"] for one in ours] == [
        "note",
        "note",
        "serves",
        "note",
        "signalled",
        "drained",
    ]
    versions_told = [one["SOCKACT_VERSION"] for one in ours[1:]]
    assert versions_told == ['quote " and ?', 'quote " and ?', "1", "1", "1"]
    for one in lines:
        assert one["TIMESTAMP"].endswith("Z")
        assert one["PRIORITY"] in "3456"
        assert one["SOCKACT_SERVICE"] == "test"


def test_it_is_kept_when_a_generation_crashes(
    start: StartService, program: Program, folder: Path
) -> None:
    service = start(program.command, listen=program.listen, options=source("exec:echo v"))
    wait.until(lambda: versions(service) == {1: "v"}, "its version")
    pid = service.status()["generations"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: versions(service) == {2: "v"}, "the next one's")
    assert not running([pid])
