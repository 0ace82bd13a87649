"""Hooks of a real service: order, environment, and what waits for them."""

from __future__ import annotations

import json
import os
import signal
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import varlink, wait
from tests.support.hooks import Told
from tests.support.installed import Installed, upgrade
from tests.support.program import Hammer, Program, connect, read_all, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

HANGS = "import time; time.sleep(600)"
UNTIL_FREED = """
import time
while not os.path.exists(FOLDER + "/free"): time.sleep(0.01)
"""


@pytest.fixture
def told(folder: Path) -> Told:
    return Told(folder)


def records(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = varlink.call(service.control, "History")["handovers"]
    return found


def of(events: list[tuple[str, int]], number: int) -> list[str]:
    return [event for event, one in events if one == number]


def test_a_reload_from_its_begin_to_its_end(
    start: StartService, program: Program, told: Told, folder: Path
) -> None:
    (folder / "VERSION").write_text("1.0\n")
    more = ("--release-version", f"file:{folder}/VERSION")
    service = start(program.command, listen=program.listen, options=(*told.options, *more))
    told.wait_for("running", 1)
    (folder / "VERSION").write_text("1.1\n")
    assert service.reload("--wait-drained").code == 0
    told.wait_for("drained", 1)
    assert service.stop() == 0
    assert of(told.events(), 1) == ["pending", "running", "draining", "drained"]
    assert of(told.events(), 2) == ["pending", "running", "draining", "drained"]
    first, drained = told.notes()[0], told.wait_for("drained", 1)
    assert first["stdin"]["cause"] == "start"
    assert "SOCKACT_HANDOVER" not in first["told"]
    assert told.notes()[-1]["stdin"]["cause"] == "stop"
    identity = drained["stdin"]["handover"]
    assert len(identity) == 32
    others = {*os.environ, "SOCKACT_AT_USEC", "SOCKACT_RUNTIME_DIR", "SOCKACT_STATE_DIR"}
    assert {k: drained["told"][k] for k in drained["told"] if k not in others} == {
        "SOCKACT_EVENT": "drained",
        "SOCKACT_NAME": "test",
        "SOCKACT_GENERATION": "1",
        "SOCKACT_VERSION": "1.0",
        "SOCKACT_PID": str(first["stdin"]["pid"]),
        "SOCKACT_HANDOVER": identity,
        "SOCKACT_CAUSE": "command",
        "SOCKACT_OUTCOME": "committed",
        "SOCKACT_PREDECESSOR": "1",
        "SOCKACT_PREDECESSOR_VERSION": "1.0",
        "SOCKACT_SUCCESSOR": "2",
        "SOCKACT_SUCCESSOR_VERSION": "1.1",
        "SOCKACT_LISTEN": program.listen[0],
    }
    with_handover = [x["stdin"] for x in told.notes() if x["stdin"]["handover"]]
    assert {x["handover"] for x in with_handover} == {identity}
    assert [x["outcome"] for x in with_handover] == ["pending", "pending", "committed", "committed"]


def test_a_hook_that_fails_takes_the_release_back(
    start: StartService, program: Program, told: Told
) -> None:
    service = start(program.command, listen=program.listen, options=told.options)
    told.wait_for("running", 1)
    told.does(
        "running", "print('one', flush=True); sys.stderr.write('no such pool\\n'); sys.exit(3)"
    )
    program.publish("2")
    with Hammer(program.port) as hammer:
        outcome = service.reload()
        hammer.wait_for("1")
        told.wait_for("drained", 2)
    assert outcome.code == 1
    assert "hook for running failed: " in outcome.stderr
    assert "exited with status 3: no such pool; generation 1 is still serving" in outcome.stderr
    assert hammer.failures == []
    assert service.states() == {1: "running"}
    assert of(told.events(), 2) == ["pending", "running", "failed", "draining", "drained"]
    back = told.wait_for("rolled_back", 1)["stdin"]
    assert "no such pool" in back["reason"]
    (record,) = records(service)
    assert [x.split(": ")[0] for x in record["hooks_failed"]] == ["running (generation 2)"]
    assert record["outcome"] == "failed"
    counts = varlink.call(service.control, "History")["totals"]["hook_failures"]
    assert counts == [{"event": "running", "count": 1}]
    assert "  hook failed: running (generation 2): " in service.run("history").stdout
    assert service.stderr.count("no such pool") == 2  # The hook's line, and the reload's.


def test_at_the_first_launch_it_is_only_reported(
    start: StartService, program: Program, told: Told
) -> None:
    told.does("running", "sys.exit(1)")
    service = start(program.command, listen=program.listen, options=told.options)
    wait.until(lambda: "hook for running failed" in service.stderr, "the report")
    assert program.ask() == "1"


@pytest.mark.parametrize("body", [HANGS, "os.setpgid(0, os.getpgid(os.getppid()))\n" + HANGS])
def test_a_hook_that_hangs_is_killed(
    start: StartService, program: Program, told: Told, body: str
) -> None:
    # Time enough for the first hook, also on a busy machine.
    more = ("--hook-timeout", "2s")
    service = start(program.command, listen=program.listen, options=(*told.options, *more))
    told.wait_for("running", 1)
    told.does("running", body)
    assert "took more than 2 s; generation 1 is still serving" in service.reload().stderr
    pid = told.wait_for("running", 2)["pid"]
    wait.until(lambda: not running([pid]), "the hook to be gone")


def test_the_stop_signal_waits_for_the_hook(
    start: StartService, program: Program, told: Told, folder: Path
) -> None:
    service = start(program.command, listen=program.listen, options=told.options)
    told.does("draining", UNTIL_FREED)
    program.publish("2")
    assert service.reload().code == 0
    told.wait_for("draining", 1)
    wait.until(lambda: service.status()["generations"][0]["gate"] == "closed", "its gate")
    with Hammer(program.port) as hammer:
        hammer.wait_for("2")
        assert service.states() == {1: "draining", 2: "running"}
        assert "sending SIGTERM" not in service.stderr
        (folder / "free").touch()
        service.wait_drained()
    assert hammer.failures == []


def test_a_request_during_the_hook_is_answered(
    start: StartService, program: Program, told: Told, folder: Path
) -> None:
    """After the hook the drain continues as before."""
    service = start(program.command, listen=program.listen, options=told.options)
    told.does("draining", UNTIL_FREED)
    with connect(("127.0.0.1", program.port)) as slow:
        slow.sendall(b"slow 1")
        program.publish("2")
        assert service.reload().code == 0
        told.wait_for("draining", 1)
        (folder / "free").touch()
        assert read_all(slow) == "1"
    service.wait_drained()


def test_a_rollback_registers_again(start: StartService, program: Program, told: Told) -> None:
    more = ("--keep-predecessor", "1min")
    service = start(program.command, listen=program.listen, options=(*told.options, *more))
    assert service.reload().code == 0
    assert service.run("rollback", "test").code == 0
    told.wait_for("rolled_back", 1)
    told.wait_for("drained", 2)
    assert of(told.events(), 1) == ["pending", "running", "rolled_back"]
    assert of(told.events(), 2) == ["pending", "running", "draining", "drained"]


def test_a_crash_and_a_launch_that_fails(start: StartService, program: Program, told: Told) -> None:
    service = start(program.command, listen=program.listen, options=told.options)
    told.wait_for("running", 1)
    program.write("raise SystemExit(4)")
    assert service.reload().code == 1
    assert told.wait_for("failed", 2)["stdin"]["reason"].startswith("the program exited with st")
    program.publish("3")
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    failed = told.wait_for("failed", 1)["stdin"]
    assert (failed["cause"], failed["handover"]) == ("crash", "")
    told.wait_for("running", 3)


NOISE = """
for _ in range(300): sys.stdout.write("x" * 4000)
sys.stdout.flush()
os.write(1, b"\\n\\xff\\0\\x1b[2J last\\n")
sys.exit(1)
"""
FORKS = """
if os.fork() == 0:
    os.setsid()
    open(FOLDER + "/left", "w").write(str(os.getpid()))
    import time; time.sleep(600)
sys.exit(1)
"""


def test_any_output_of_a_hook_is_harmless(
    start: StartService, program: Program, told: Told
) -> None:
    told.does("running", NOISE)
    service = start(program.command, listen=program.listen, options=told.options)
    wait.until(lambda: "hook for running failed" in service.stderr, "the report")
    (line,) = [x for x in service.stderr.splitlines() if "hook for" in x]
    assert "exited with status 1" in line
    assert line.endswith("last")
    assert len(line) < 600


def test_processes_left_by_a_hook_are_not_waited_for(
    start: StartService, program: Program, told: Told, folder: Path
) -> None:
    told.does("running", FORKS)
    service = start(program.command, listen=program.listen, options=told.options)
    wait.until(lambda: "hook for running failed" in service.stderr, "the report")
    wait.until(lambda: (folder / "left").exists() and (folder / "left").read_text(), "its child")
    left = (folder / "left").read_text()
    (generation,) = service.status()["generations"]
    assert int(left) not in generation["pids"]
    os.kill(int(left), signal.SIGKILL)
    assert service.stop() == 0


def test_a_program_that_is_removed(start: StartService, program: Program, folder: Path) -> None:
    hook = folder / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    options = ("--on", f"drained={hook}", "--on", f"failed={hook}")
    service = start(program.command, listen=program.listen, options=options)
    hook.unlink()
    assert service.reload("--wait-drained").code == 0
    wait.until(lambda: "cannot start: No such file or directory" in service.stderr, "it")


def test_several_commands_in_their_order(
    start: StartService, program: Program, folder: Path
) -> None:
    log = folder / "log"
    lines = [f"sh -c 'echo {n} >> {log}; exit {n}'" for n in (0, 1, 2)]
    hooks = (f"{event}={line}" for event in ("drained", "running") for line in lines)
    options = tuple(word for hook in hooks for word in ("--on", hook))
    service = start(program.command, listen=program.listen, options=options)
    wait.until(lambda: log.exists() and log.read_text() == "0\n1\n", "those for running")
    assert service.reload().code == 1
    assert service.stop() == 0
    # After the first failure the others for running are not run, but for drained they are.
    assert log.read_text().split() == ["0", "1", *["0", "1"], *["0", "1", "2"] * 2]


def test_a_stop_ends_with_its_hooks(start: StartService, program: Program, told: Told) -> None:
    more = ("--hook-timeout", "3s")  # On a busy machine, the hook takes a second to start.
    service = start(program.command, listen=program.listen, options=(*told.options, *more))
    told.does("drained", HANGS)
    assert service.stop() == 0
    assert "hook for drained failed" in service.stderr
    assert not running([told.wait_for("drained", 1)["pid"]])


def test_a_stop_without_a_drain_does_not_wait_for_long(
    start: StartService, program: Program, told: Told
) -> None:
    more = ("--hook-timeout", "10min")
    service = start(program.command, listen=program.listen, options=(*told.options, *more))
    told.does("drained", HANGS)
    service.signal(signal.SIGTERM)
    pid = told.wait_for("drained", 1)["pid"]
    service.signal(signal.SIGQUIT)
    assert service.process.wait(wait.TIMEOUT) == 0
    assert wait.ended(pid)


def test_an_upgrade_waits_for_a_hook(
    start: StartService, program: Program, told: Told, folder: Path
) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    more = ("--release-version", "exec:echo r$SOCKACT_NAME", "--hook-timeout", "1min")
    options = (*told.options, *more)
    service = start(
        program.command, listen=program.listen, options=options, launcher=installed.launcher
    )
    told.wait_for("running", 1)
    told.does("draining", UNTIL_FREED)
    assert service.reload().code == 0
    told.wait_for("draining", 1)
    installed.publish("2.00")
    with Hammer(program.port) as hammer:
        upgrading = Thread(target=upgrade, args=(service,))
        upgrading.start()
        hammer.wait_for("1")
        assert service.status()["version"] == "1.0"
        (folder / "free").touch()
        upgrading.join()
        service.wait_drained()
    assert hammer.failures == []
    assert service.status()["version"] == "2.00"
    assert service.status()["generations"][0]["version"] == "rtest"
    assert service.stop() == 0
    assert of(told.events(), 1) == ["pending", "running", "draining", "drained"]
    assert of(told.events(), 2) == ["pending", "running", "draining", "drained"]
    assert told.notes()[-1]["stdin"]["version"] == "rtest"


def test_the_hooks_of_a_generation_are_those_it_was_launched_with(
    start: StartService, program: Program, folder: Path
) -> None:
    file, log = folder / "test.json", folder / "log"
    said: dict[str, Any] = {"command": program.command, "listen": [*program.listen]}

    def write(word: str) -> None:
        line = f"sh -c 'echo {word} $SOCKACT_EVENT $SOCKACT_GENERATION >> {log}'"
        said["on"] = {"running": line, "drained": line}
        file.write_text(json.dumps(said))

    write("first")
    service = start([], options=("--config", str(file)))
    wait.until(lambda: log.exists() and log.read_text(), "the first hook")
    said["on"] = {"running": "no-such-program"}
    file.write_text(json.dumps(said))
    outcome = service.reload()
    assert outcome.code == 1
    assert "'no-such-program' is not an executable program" in outcome.stderr
    write("second")
    assert service.reload("--wait-drained").code == 0
    assert service.stop() == 0
    assert log.read_text().splitlines() == [
        "first running 1",
        "second running 2",
        "first drained 1",
        "second drained 2",
    ]
