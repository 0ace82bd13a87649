"""Who listens where a supervisor should: what root's commands ask of it, and believe."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sockact.cli.calls import asking, reload, service, status
from sockact.cli.terminal.failures import Failure
from sockact.supervisor.control import answers, client, varlink
from sockact.units import unit_facts
from tests import ROOT
from tests.process.control.bench import FAILED, HANDOVER, NO_TIMES, NO_TOTALS, Bench

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
OTHER = 65534


def listen(path: Path, user: int = 0) -> socket.socket:
    """As that user: unix(7) keeps who has called listen(2)."""
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    try:
        if user:
            os.seteuid(user)
        found.listen()
    finally:
        if user:
            os.seteuid(0)
    return found


@as_root
def test_a_link_to_the_socket_of_another_service(bench: Bench, folder: Path) -> None:
    other = folder / "other"
    other.mkdir(mode=0o700)
    (other / "control").symlink_to(folder / "control")
    os.chown(other, OTHER, OTHER)
    os.lchown(other / "control", OTHER, OTHER)
    with pytest.raises(client.ControlError, match="a symbolic link of user 65534"):
        client.Client(str(other))
    (other / "control").unlink()
    (other / "control").hardlink_to(folder / "control")
    with pytest.raises(client.Impostor, match=r"user 0 listens in .*, which belongs to user 65534"):
        client.Client(str(other))
    assert bench.service.asked == 0


@as_root
@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o770), (65533, 0o700)])
def test_a_socket_of_another_user(folder: Path, owner: int, mode: int) -> None:
    place = folder / "app"
    place.mkdir()
    os.chown(place, owner, owner)
    place.chmod(mode)
    with listen(place / "control", OTHER), pytest.raises(client.Impostor, match="user 65534"):
        client.Client(str(place))


@as_root
@pytest.mark.parametrize("user", [OTHER, 3_000_000_000])
def test_a_supervisor_of_its_own_user(folder: Path, user: int) -> None:
    place = folder / "app"
    place.mkdir(mode=0o700)
    os.chown(place, user, user)
    with listen(place / "control", user), client.Client(str(place)) as connection:
        assert connection.supervisor == os.getpid()


def test_a_supervisor_that_answers_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_SILENCE", 0.1)
    monkeypatch.setattr(client, "_SIGN_OF_LIFE", 0.2)
    with listen(folder / "control"), client.Client(str(folder)) as connection:
        for method in ("Stop", "Reload", "Rollback"):
            with pytest.raises(client.Silent, match="does not respond"):
                connection.call(method)
        with pytest.raises(client.Timeout, match=r"within 0\.1 s"):
            connection.call("Status", timeout=0.1)


def test_a_supervisor_that_takes_its_time(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_SILENCE", 0.05)
    # Until after several signs of life.
    bench.loop.at(time.monotonic() + 0.5, lambda: bench.service.reloads[0][1](HANDOVER, True))

    def work() -> dict[str, Any]:
        with client.Client(str(folder)) as connection:
            return connection.call("Reload")

    assert bench.meanwhile(work) == {"handover": HANDOVER}


GOOD: dict[str, Any] = {
    "number": 1,
    "state": "running",
    "pid": 1,
    "pids": [],
    "started_usec": 0,
    "age_seconds": 1.0,
    "gate": "open",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pid": "../tmp/x"}, "pid must be a number from 0 to 4194304"),
        ({"pid": 1 << 23}, "pid must be a number"),
        ({"pids": [1, -1]}, "pids must be a number"),
        ({"pids": [1] * 100_000}, "pids must be a list of at most 65536"),
        ({"number": True}, "number must be a number"),
        ({"number": -1}, "number must be a number"),
        ({"number": 10**400}, "number must be a number"),
        ({"started_usec": 1 << 60}, "started_usec must be a number"),
        ({"age_seconds": 1e300}, "age_seconds must be a number up to"),
        ({"age_seconds": "1"}, "age_seconds must be a number"),
        ({"age_seconds": 10**400}, "age_seconds must be a number"),
        ({"state": 1}, "state must be a text"),
        ({"state": "x" * 100_000}, "state must be a text of at most"),
        ({"gate_by": []}, "gate_by must be a text"),
        ({"connections": {"busy": 1}}, r"connections\.fresh is missing"),
        ({"connections": []}, "connections must be an object"),
        ({"on_trial": 1}, "on_trial must be true or false"),
    ],
)
def test_answers_that_are_none(bench: Bench, change: dict[str, Any], reason: str) -> None:
    found = {**bench.service.status(), "generations": [{**GOOD, **change}]}
    with pytest.raises(answers.Unfit, match=rf"^status\.generations\.{reason}"):
        answers.result("Status", {"status": found})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drains": {**NO_TIMES, "counts": [-1]}}, r"drains\.counts must be a number"),
        ({"drains": {**NO_TIMES, "counts": [1e308]}}, r"drains\.counts must be a number"),
        ({"drains": {**NO_TIMES, "sum": float("nan")}}, r"drains\.sum must be a number"),
        ({"drains": {**NO_TIMES, "bounds": [10**400]}}, r"drains\.bounds must be a number"),
        ({"forced_closes": None}, "forced_closes must be a number"),
    ],
)
def test_totals_that_are_none(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(answers.Unfit, match=rf"^totals\.{reason}"):
        answers.result("History", {"handovers": [], "totals": {**NO_TOTALS, **change}})


def test_answers_of_other_versions(bench: Bench) -> None:
    found = {**bench.service.status(), "generations": [{**GOOD, "later": 1}], "later": 1}
    (generation,) = answers.result("Status", {"status": found})["status"]["generations"]
    assert generation.keys() >= GOOD.keys()
    assert "later" not in generation
    assert (generation["version"], generation["connections"]) == ("", None)
    assert answers.error("org.sockact.Service.ReloadFailed", {"handover": FAILED, "later": 1}) == {
        "handover": FAILED
    }
    assert answers.error("org.example.Other", {"later": 1}) == {}
    back = {"handover": {**HANDOVER, "duration_seconds": -0.5}}
    assert answers.result("Rollback", back)["handover"]["duration_seconds"] == 0
    assert answers.result("History", {"handovers": [], "totals": NO_TOTALS})
    for method in ("Status", "History", "Reload", "Rollback", "Rotate", "Upgrade"):
        with pytest.raises(answers.Unfit, match="is missing"):
            answers.result(method, {})


def test_an_error_of_another_interface(bench: Bench, folder: Path) -> None:
    for name in ("ReloadFailed", "TooManyFailures", "Stopping"):
        bench.service.refusal = varlink.Refused(f"org.example.{name}")
        with pytest.raises(Failure, match=rf"app runs a version .*\({name}\)"):
            bench.meanwhile(lambda: reload.reloaded(service.Service("app", str(folder))))


def test_an_answer_that_would_fill_the_memory() -> None:
    for bomb in (b"[" + b"{}," * 300_000 + b"{}]", b"[" * 100_000 + b"]" * 100_000):
        receiver = varlink.Receiver(4 << 20)
        receiver.feed(b'{"parameters":{"status":' + bomb + b"}}\0")
        with pytest.raises(varlink.Malformed):
            receiver.take()


def test_a_service_that_gives_the_name_of_another(bench: Bench, folder: Path) -> None:
    with pytest.raises(Failure, match="calls itself 'app'"):
        bench.meanwhile(lambda: status.ask(service.Service("other", str(folder)), 5.0))


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/app.service", ("app.service", False)),
        ("/system.slice/app.service/-Hroot@example.org.service", ("app.service", False)),
        ("/system.slice/-Hroot@example.org.service", ("", False)),
        ("/system.slice/app.service/sshd.service", ("app.service", False)),
        ("/user.slice/user@1000.service/app.slice/app.service", ("app.service", True)),
        ("/user.slice/user@1000.service/app.slice/app\udcff.service", ("", False)),
    ],
)
def test_the_unit_of_a_process(path: str, unit: tuple[str, bool]) -> None:
    assert unit_facts.unit_in(path) == unit


def test_commands_write_in_one_place() -> None:
    """Where what others have written is escaped."""
    direct = re.compile(r"click\.(?:secho|echo)\(|\bprint\(|sys\.std(?:out|err)\.(?:write|buffer)")
    cli = ROOT / "sockact" / "cli"
    # The exporter's log; files at build time.
    own = {cli / "terminal" / name for name in ("output.py", "live_line.py")}
    own.add(cli / "exporter" / "server.py")
    own |= {*(cli / "manual").rglob("*.py")}
    for path in {*cli.rglob("*.py")} - own:
        assert not direct.search(path.read_text()), path


def test_the_one_place_escapes(capfd: pytest.CaptureFixture[str]) -> None:
    from sockact.cli.terminal import output

    output.say("a\tb\r\n\x1b]0;owned\x07\x9b2Jc\ud800\rd")
    output.say_anew("\x1b[2J")
    output.mention("\x1b[2J\n")
    out, err = capfd.readouterr()
    assert out == "a\tb\r\n\\x1b]0;owned\\x07\\x9b2Jc\\ud800\\rd\n\\x1b[2J\n\n"
    assert err == "\\x1b[2J\\n\n"


def test_one_bad_answer_does_not_hide_the_others(bench: Bench, folder: Path) -> None:
    place = folder / "bad"
    place.mkdir()
    with listen(place / "control") as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(json.dumps({"parameters": {}}).encode() + b"\0")

        thread = threading.Thread(target=answer)
        thread.start()
        services = [service.Service("bad", str(place)), service.Service("app", str(folder))]
        bad, good = bench.meanwhile(lambda: asking.ask_all(services, 5.0))
        thread.join()
    assert isinstance(bad, Failure)
    assert "status is missing" in bad.message
    assert isinstance(good, dict)
