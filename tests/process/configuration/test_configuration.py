"""A service with a configuration file, which is read again at each reload."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import wait
from tests.support.program import Program, connect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# Responds with a variable of its environment, and its working directory.
ENVIRONMENT = """
VERSION = " ".join((os.environ.get("GREETING", "-"), os.environ.get("SOCKACT_RELEASE", "-"),
                    os.getcwd())).encode()
accept(bound())
"""


class Configured:
    """A service and its file."""

    def __init__(self, start: StartService, folder: Path, **more: Any) -> None:
        self.path = folder / "test.json"
        self.program = Program(folder)
        self.said: dict[str, Any] = {
            "command": self.program.command,
            "listen": [*self.program.listen],
            "directory": str(folder),
            **more,
        }
        self.write()
        self.service: Service = start([], options=("--config", str(self.path)))

    def write(self, **more: Any) -> None:
        self.said |= more
        self.path.write_text(json.dumps(self.said, indent=1))

    def refused(self, reason: str) -> None:
        """A reload is refused for this reason, and nothing has changed."""
        before = self.service.status()["generations"][0]["pid"]
        outcome = self.service.reload()
        assert outcome.code == 1
        assert outcome.stderr.startswith(f"sockact: test: not reloaded: {self.path}")
        assert outcome.stderr.endswith("; nothing was changed\n")
        assert reason in outcome.stderr
        (generation,) = self.service.status()["generations"]
        assert (generation["pid"], generation["state"]) == (before, "running")


def test_a_reload_takes_what_the_file_says(start: StartService, folder: Path) -> None:
    one = Configured(start, folder, environment={"GREETING": "first"})
    one.program.publish("1", ENVIRONMENT)
    assert one.service.reload().code == 0
    assert one.program.ask() == f"first - {folder}"
    one.write(environment={"GREETING": "second"})
    assert one.service.reload().code == 0
    assert one.program.ask() == f"second - {folder}"


def test_an_invalid_file_changes_nothing(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    one.write(adopt="magic")
    one.refused("adopt: 'magic' is not one of")
    assert "not reloaded: " in one.service.stderr
    one.path.unlink()
    one.refused("No such file")
    one.write(adopt="auto")
    assert one.service.reload().code == 0


def test_a_warm_up_without_lanes(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    one.write(warm=["http://127.0.0.1:1/"])
    one.refused("--warm http://127.0.0.1:1/: not an address of the service")
    one.write(warm=[f"http://127.0.0.1:{one.program.port}/"])
    one.refused("warm: the service runs with --lanes off")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"listen": ["127.0.0.1:1"]}, "listen"),
        ({"adopt": "native"}, "adopt"),
        ({"watchdog-probe": "exec:true"}, "watchdog-probe"),
    ],
)
def test_what_takes_a_restart(
    start: StartService, folder: Path, more: dict[str, Any], key: str
) -> None:
    one = Configured(start, folder)
    one.write(**more)
    one.refused(f"{key} has changed, which needs a restart")


def test_a_configuration_that_fails_is_not_kept(start: StartService, folder: Path) -> None:
    """A crash of the predecessor starts the program that served, not the one that failed."""
    one = Configured(start, folder)
    one.write(command=["/bin/false"], **{"start-limit-burst": 1})
    assert one.service.reload().code == 1
    status = one.service.status()
    assert status["command"] == one.program.command
    assert status["starts"]["burst"] == 10
    pid = status["generations"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: one.service.states().get(3) == "running", "the launch after the crash")
    assert one.program.ask() == "1"


def test_the_supervisors_part_holds_at_once(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    one.write(**{"start-limit-burst": 3, "ready": "notify", "start-timeout": 0.5})
    outcome = one.service.reload()
    assert "READY=1" in outcome.stderr, outcome
    one.write(**{"ready": "interest", "start-timeout": 60})
    assert one.service.reload().code == 0
    assert one.service.status()["starts"]["burst"] == 3


def test_each_generation_has_its_own_stop_signal(start: StartService, folder: Path) -> None:
    one = Configured(start, folder, **{"stop-signal": "INT"})
    one.write(**{"stop-signal": "TERM"})
    assert one.service.reload().code == 0
    one.service.wait_drained()
    assert ", sending SIGINT" in one.service.stderr


def test_reloads_that_come_meanwhile_share_one(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    for _ in range(5):
        one.service.signal(signal.SIGHUP)
    assert one.service.reload().code == 0
    one.service.wait_drained()
    assert one.service.status()["handover"]["id"] <= 3


def test_a_stop_while_it_is_read(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    one.service.signal(signal.SIGHUP)
    assert one.service.stop() == 0


def test_a_release_is_followed_once_for_a_generation(start: StartService, folder: Path) -> None:
    link = folder / "current"
    for number in ("1", "2"):
        (folder / number).mkdir()
    link.symlink_to("1")
    one = Configured(start, folder, release=str(link), directory=f"{link}")
    one.program.publish("1", ENVIRONMENT)
    assert one.service.reload().code == 0
    assert one.program.ask() == f"- {folder}/1 {folder}/1"
    (folder / "next").symlink_to("2")
    os.replace(folder / "next", link)
    assert one.program.ask() == f"- {folder}/1 {folder}/1"
    assert one.service.reload().code == 0
    assert one.program.ask() == f"- {folder}/2 {folder}/2"


def test_it_is_read_after_an_upgrade_in_place(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    one.program.publish("1", ENVIRONMENT)
    one.write(environment={"GREETING": "first"})
    assert one.service.reload().code == 0
    one.service.wait_drained()
    assert one.service.run("upgrade", "test").code == 0
    one.write(adopt="magic")
    one.refused("adopt: 'magic' is not one of")
    one.write(adopt="auto", environment={"GREETING": "second"})
    assert one.service.reload().code == 0
    assert one.program.ask() == f"second - {folder}"


def test_what_has_served_is_kept(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    texts = [one.path.read_text()]
    for number in (1, 2):
        one.write(environment={"GREETING": str(number)})
        texts.append(one.path.read_text())
        assert one.service.reload().code == 0
    one.write(command=["/bin/false"])
    assert one.service.reload().code == 1
    config = str(one.path)
    for number, text in enumerate(texts, 1):
        assert one.service.run("config", "show", config, str(number)).stdout == text
    assert one.service.run("config", "show", config).stdout == one.path.read_text()
    history = one.service.run("config", "history", config).stdout.splitlines()
    assert [line.split()[0] for line in history] == ["1", "2", "3"]
    (kept,) = folder.glob("*/state/test/config")
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in kept.iterdir())
    assert kept.stat().st_mode & 0o777 == 0o700
    assert '-  "GREETING": "1"' in one.service.run("config", "diff", config, "2", "3").stdout
    assert '+  "/bin/false"' in one.service.run("config", "diff", config).stdout


def test_going_back(start: StartService, folder: Path) -> None:
    one = Configured(start, folder, environment={"GREETING": "first"})
    one.program.publish("1", ENVIRONMENT)
    one.path.chmod(0o640)
    one.write(environment={"GREETING": "second"})
    assert one.service.reload().code == 0
    config = str(one.path)
    back = one.service.run("config", "rollback", config, "1")
    assert back.stdout.startswith("test: configuration 1: generation 3 is serving"), back
    assert one.program.ask().startswith("first")
    assert json.loads(one.path.read_text())["environment"] == {"GREETING": "first"}
    assert one.path.stat().st_mode & 0o777 == 0o640
    missing = one.service.run("config", "rollback", config, "9")
    assert (missing.code, "kept: 1 to 3" in missing.stderr) == (2, True)
    # The program does not start any more: the file is as it was.
    one.write(environment={"GREETING": "third"})
    now = one.path.read_text()
    one.program.publish("2", "raise SystemExit(3)\n")
    assert one.service.run("config", "rollback", config, "2").code == 1
    assert one.path.read_text() == now
    # Also when that was nothing to be read, or nothing at all.
    one.path.write_bytes(b"\xff\r\n")
    assert one.service.run("config", "rollback", config, "2").code == 1
    assert one.path.read_bytes() == b"\xff\r\n"
    one.path.unlink()
    assert one.service.run("config", "rollback", config, "2").code == 1
    assert not one.path.exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_restart_with_the_same_file_is_no_other(start: StartService, folder: Path) -> None:
    one = Configured(start, folder)
    assert one.service.reload().code == 0
    history = one.service.run("config", "history", str(one.path)).stdout
    assert len(history.splitlines()) == 1


def test_an_invalid_file_in_a_crash_loop(start: StartService, folder: Path) -> None:
    """The program crashes repeatedly, and the new configuration is invalid."""
    one = Configured(start, folder)
    pid = one.service.status()["generations"][0]["pid"]
    one.program.publish("2", "raise SystemExit(3)\n")
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: one.service.status()["state"] == "backoff", "the program to be waited for")
    one.write(command=["/bin/false"])
    assert one.service.reload().code == 1
    assert one.service.status()["command"] == one.program.command
    one.program.publish("3")
    wait.until(lambda: "running" in one.service.states().values(), "a launch of the old one")
    assert one.program.ask() == "3"


def test_and_keeps_its_own_after_an_upgrade(start: StartService, folder: Path) -> None:
    one = Configured(start, folder, **{"stop-signal": "INT", "drain-timeout": "1h"})
    with connect(("127.0.0.1", one.program.port)):
        one.write(**{"stop-signal": "TERM"})
        assert one.service.reload().code == 0
        assert one.service.states() == {1: "draining", 2: "running"}
        assert one.service.run("upgrade", "test").code == 0
        assert one.service.states() == {1: "draining", 2: "running"}
    one.service.wait_drained()
    assert ", sending SIGINT" in one.service.stderr


def test_what_is_watched_is_what_the_file_says(start: StartService, folder: Path) -> None:
    watched = folder / "etc"
    watched.mkdir()
    one = Configured(start, folder)
    one.write(watch=[str(watched)], **{"watch-delay": 0.1})
    assert one.service.reload().code == 0
    (watched / "conf").write_text("1")
    wait.until(lambda: one.service.states().get(3) == "running", "a reload")
    # A change reads the file, too: one that is invalid begins nothing.
    one.write(adopt="magic")
    (watched / "conf").write_text("2")
    wait.until(lambda: "not reloaded: " in one.service.stderr, "a refusal")
    one.write(adopt="auto", watch=[])
    assert one.service.reload().code == 0
    assert one.service.status()["watch"] is None
    (watched / "conf").write_text("3")
    assert one.service.reload().code == 0
    assert one.service.status()["handover"]["id"] == 4
