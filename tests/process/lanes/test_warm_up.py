"""A release is warmed up before any client reaches it, and nothing of that refuses it."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.lanes.warmed import LANES, Scene
from tests.support import wait
from tests.support.program import Hammer
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program

    Begin = Callable[..., Scene]


@pytest.fixture
def begin(start: StartService, folder: Path) -> Begin:
    def scene(path: str = "/warm", *options: str) -> Scene:
        return Scene(start, folder, path, *options)

    return scene


def test_no_client_reaches_it_before_it_is_warm(begin: Begin) -> None:
    scene = begin()
    with Hammer(scene.program.port) as hammer:
        hammer.wait_for("1")
        scene.service.signal(signal.SIGHUP)
        scene.wait_warming()
        hammer.wait_for("1")
        assert scene.service.states() == {1: "running", 2: "running"}
        scene.service.notify.wait_for_status("generation 2 warming up")
        scene.open()
        hammer.wait_for("2")
    assert hammer.failures == []
    assert ["/warm"] not in [one[:1] for one in scene.requests("1")], "the first is not warmed up"
    asked = [one[0] for one in scene.requests("2")]
    assert asked[asked.index("client") :].count("/warm") == 0
    assert asked.count("/warm") >= 3 * 2
    ports = {port for path, *rest in scene.requests("2") if path == "/warm" for port in rest}
    assert len(ports) == 2, "two at once, each with one port for all of its requests"
    said = r"generation 2: warmed up: \d+ requests, \d+(\.\d s| ms) -> \d+ m?s\n"
    wait.until(lambda: re.search(said, scene.service.stderr), "the report")
    history = scene.service.run("history", scene.service.name).stdout
    assert re.search(r"start \d\.\d\d s, warm \d+\.\d\d s", history)
    assert wait.until(lambda: scene.helpers() == [], "the end of the requests")


def test_it_goes_on_when_the_time_is_over(begin: Begin) -> None:
    scene = begin("/warm", "--warm-timeout", "1s")
    outcome = scene.service.reload()
    assert outcome.code == 0, outcome.stderr
    assert scene.program.ask() == "2"
    said = "generation 2: not warm, continuing: response times did not settle within 1 s\n"
    assert said in scene.service.stderr
    scene.open()
    wait.until(lambda: scene.helpers() == [], "the end of the requests")


def test_an_error_is_told_and_refuses_nothing(begin: Begin) -> None:
    scene = begin("/broken")
    scene.open()
    assert scene.service.reload().code == 0
    assert scene.program.ask() == "2"
    url = f"http://127.0.0.1:{scene.program.port}/broken"
    said = re.search(r"warmed up: (\d+) requests, .* \((\d+) failed: (.*)\)", scene.service.stderr)
    assert said is not None
    assert (said[1], said[3]) == (said[2], f"status 500 for {url}")


def test_a_crash_keeps_the_predecessor(begin: Begin) -> None:
    scene = begin("/crash")
    scene.open()
    with Hammer(scene.program.port) as hammer:
        hammer.wait_for("1")
        outcome = scene.service.reload()
        hammer.wait_for("1")
    assert outcome.code == 1
    assert "exited with status 3" in outcome.stderr
    scene.service.wait_drained()
    assert (hammer.failures, set(hammer.answers)) == ([], {"1"})
    assert scene.service.states() == {1: "running"}


def test_the_predecessor_crashes(begin: Begin) -> None:
    """Clients wait: the successor gets them, cold as it is."""
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    os.kill(scene.service.status()["generations"][0]["pid"], signal.SIGKILL)
    wait.until(lambda: scene.service.states() == {2: "running"}, "its end")
    assert scene.program.ask() == "2"
    assert scene.progress() is None
    scene.open()


def test_an_upgrade_carries_it(begin: Begin) -> None:
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    before = scene.service.status()["generations"][1]["seconds_left"]
    (helper,) = scene.helpers()
    assert scene.service.run("upgrade", scene.service.name).code == 0, scene.service.stderr
    wait.until(lambda: scene.helpers() not in ([], [helper]), "its requests to begin anew")
    wait.until(lambda: helper not in scene.helpers(), "the end of the first ones")
    assert scene.progress() is not None
    assert scene.service.status()["generations"][1]["seconds_left"] < before
    assert {scene.program.ask() for _ in range(20)} == {"1"}
    scene.open()
    wait.until(lambda: scene.program.ask() == "2", "the switch")
    wait.until(lambda: "warmed up: " in scene.service.stderr, "the report")


def test_a_rollback_ends_it(begin: Begin) -> None:
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    assert scene.service.run("rollback", scene.service.name).code == 0
    wait.until(lambda: scene.helpers() == [], "the end of the requests")
    assert {scene.program.ask() for _ in range(20)} == {"1"}
    assert scene.service.status()["handover"]["outcome"] == "failed"
    scene.open()
    scene.service.wait_drained()


def test_a_second_reload_waits(begin: Begin) -> None:
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    scene.publish("3")
    scene.service.signal(signal.SIGHUP)
    scene.open()
    wait.until(lambda: scene.program.ask() == "3", "the queued reload")
    # Clients are steered before it is said.
    wait.until(lambda: scene.service.stderr.count(": warmed up: ") == 2, "the report of both")


def test_a_stop_ends_it(begin: Begin) -> None:
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    assert scene.service.stop("--now") == 0
    wait.until(lambda: scene.helpers() == [], "the end of the requests")


def test_its_requests_end_with_the_supervisor(begin: Begin) -> None:
    scene = begin()
    scene.service.signal(signal.SIGHUP)
    scene.wait_warming()
    pids = [one["pid"] for one in scene.service.status()["generations"]]
    scene.service.process.kill()
    scene.service.process.wait()
    wait.until(lambda: scene.helpers() == [], "the end of the requests")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    scene.service.remove_sockets()


def test_paths_in_a_file(begin: Begin, folder: Path) -> None:
    """It is read at each reload."""
    file = folder / "paths"
    file.write_text("# what users see first\n/one\n\n/two?a=b\n")
    scene = begin(f"@{file}")
    file.write_text("/three\n")
    scene.open()
    assert scene.service.reload().code == 0
    assert {one[0] for one in scene.requests("2")} == {"/three"}
    file.unlink()
    scene.publish("3")
    assert scene.service.reload().code == 0
    said = "generation 3: not warm, continuing: [Errno 2] No such file or directory"
    assert said in scene.service.stderr


def refusal(program: Program, folder: Path, *options: str) -> str:
    """The one line of a start that is refused."""
    with Service(program.command, folder=folder, listen=program.listen, options=options) as service:
        assert service.process.wait(30.0) == 2
    assert len(service.stderr.splitlines()) == 1
    return service.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ("--warm", "URL", "--lanes", "off"),
            "--warm needs lanes: the service runs with --lanes off",
        ),
        ((*LANES, "--warm", "https://127.0.0.1/"), "use http://ADDRESS/PATH or @FILE"),
        ((*LANES, "--warm", "/path"), "use http://ADDRESS/PATH or @FILE"),
        ((*LANES, "--warm", "http:///path"), "is not a valid URL"),
        ((*LANES, "--warm", "http://127.0.0.1:1/"), "not an address of the service; use one of"),
        ((*LANES, "--warm", "@/nowhere/paths"), "cannot read /nowhere/paths: No such file"),
        ((*LANES, "--warm", "@/proc"), "/proc is not a file"),
        ((*LANES, "--warm", "@/dev/null"), "/dev/null is not a file"),
        ((*LANES, "--warm", "@FILE"), "line 2: 'x' is not a path; write one such as /login"),
        ((*LANES, *("--warm", "URL") * 33), "33 are too many"),
        ((*LANES, "--warm", "URL", "--warm-timeout", "0"), "use a time greater than 0"),
        ((*LANES, "--warm-timeout", "5s"), "--warm-timeout needs --warm URL"),
        (
            (*LANES, "--warm", "URL", "--ready", "exec:true"),
            "with --ready exec:true, clients reach a new generation before it is warm",
        ),
    ],
)
def test_bad_input(
    program: Program, folder: Path, options: tuple[str, ...], complaint: str
) -> None:
    file = folder / "paths"
    file.write_text("/good\nx\n")
    known = {"URL": f"http://127.0.0.1:{program.port}/", "@FILE": f"@{file}"}
    assert complaint in refusal(program, folder, *[known.get(one, one) for one in options])


def test_unix_sockets_have_no_lanes(program: Program, folder: Path) -> None:
    options = ("--lanes", "auto", "--warm", f"http://127.0.0.1:{program.port}/")
    listen = (*program.listen, f"{folder}/x.sock")
    with Service(program.command, folder=folder, listen=listen, options=options) as service:
        assert service.process.wait(30.0) == 2
    assert "--warm needs lanes: Unix sockets have no lanes" in service.stderr
