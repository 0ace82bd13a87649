"""--ready: proofs of readiness other than interest."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support import varlink, wait
from tests.support.program import Hammer, Program, connect, read_all, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

NOTIFY = """
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
        sock.sendall(text)

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
"""
# Asks the service, records which version answered, and passes for a good one.
ASK = """
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as sock:
    sock.sendall(b"fast")
    answer = sock.recv(100)
with open({log!r}, "ab") as log:
    log.write(answer + b"\\n")
sys.exit(0 if b"good" in answer else 1)
"""
HTTP = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if b"good" in VERSION else 503)
        self.end_headers()
        self.wfile.write(VERSION)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


class TestNotify:
    """The program itself sends READY=1, to a socket of its generation."""

    OPTIONS = ("--ready", "notify", "--start-timeout", "20s")

    def test_ready_when_it_says_so(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        gate, accepts = folder / "gate", folder / "accepts"
        program.publish(
            "1",
            f"{NOTIFY}threading.Thread(target=accept, args=(bound(),)).start()\n"
            f"open({str(accepts)!r}, 'w').close()\nwait_for({str(gate)!r})\n"
            "notify(b'STATUS=warm\\nREADY=1\\nMAINPID=1')\n",
        )
        service = start(program.command, listen=program.listen, options=self.OPTIONS, ready=False)
        wait.until(accepts.exists, "the program to accept")
        assert program.ask() == "1"
        assert service.states() == {1: "pending"}
        gate.touch()
        message = service.notify.wait_for("READY", "1")
        assert message.pid == service.process.pid
        assert not any(one.get("MAINPID") for one in service.notify.messages)

    def test_worker_may_say_it(self, start: StartService, program: Program) -> None:
        program.publish(
            "1",
            f"{NOTIFY}found = bound()\nif os.fork():\n    os.wait()\nelse:\n"
            "    notify(b'READY=1')\n    accept(found)\n",
        )
        start(program.command, listen=program.listen, options=self.OPTIONS)
        assert program.ask() == "1"

    def test_stranger_is_not_believed(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        told, gate = folder / "told", folder / "gate"
        program.publish(
            "1",
            f"{NOTIFY}found = bound()\nwith open({str(told)!r} + '.new', 'w') as file:\n"
            f"    file.write(os.environ['NOTIFY_SOCKET'])\nos.rename(file.name, {str(told)!r})\n"
            f"wait_for({str(gate)!r})\nnotify(b'READY=1')\naccept(found)\n",
        )
        service = start(program.command, listen=program.listen, options=self.OPTIONS, ready=False)
        wait.until(told.exists, "the program's socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(told.read_text().replace("@", "\0", 1))
            for _ in range(40):
                sock.send(b"READY=1")
        assert service.states() == {1: "pending"}
        gate.touch()
        service.notify.wait_for("READY", "1")

    def test_predecessor_is_not_believed(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        """It knows the address of no other generation, and could say nothing for it."""
        body = f"{NOTIFY}found = bound()\nnotify(b'READY=1')\naccept(found)\n"
        program.publish("1", body)
        service = start(program.command, listen=program.listen, options=self.OPTIONS)
        gate = folder / "gate"
        program.publish("2", body.replace("notify(b", f"wait_for({str(gate)!r})\nnotify(b"))
        reload = varlink.begin(service.control, "Reload")
        wait.until(lambda: service.states() == {1: "running", 2: "pending"}, "the successor")
        gate.touch()
        with reload:
            assert varlink.finish(reload)["handover"]["outcome"] == "committed"

    def test_later_notifications_are_harmless(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        """STATUS=, WATCHDOG=1 and STOPPING=1 are often sent without a look at errors."""
        gate, done = folder / "gate", folder / "done"
        program.publish(
            "1",
            f"{NOTIFY}found = bound()\nthreading.Thread(target=accept, args=(found,)).start()\n"
            f"notify(b'READY=1')\nwait_for({str(gate)!r})\n"
            "for number in range(500): notify(b'WATCHDOG=1')\n"
            f"open({str(done)!r}, 'w').close()\n",
        )
        service = start(program.command, listen=program.listen, options=self.OPTIONS)
        gate.touch()
        wait.until(done.exists, "the program to have said all", timeout=5)
        assert service.states() == {1: "running"}

    def test_silence_is_refused(self, start: StartService, program: Program) -> None:
        body = f"{NOTIFY}found = bound()\nnotify(b'READY=1')\naccept(found)\n"
        program.publish("1", body)
        options = ("--ready", "notify", "--start-timeout", "3s")
        service = start(program.command, listen=program.listen, options=options)
        program.publish("2")
        with Hammer(program.port) as hammer:
            outcome = service.reload()
        assert outcome.code == 1
        assert "READY=1" in outcome.stderr.splitlines()[0]
        # Both accept until the successor is given up, as without a probe.
        assert set(hammer.answers) <= {"1", "2"}


class TestProbe:
    """A probe asks the successor, while no other generation can answer."""

    @pytest.fixture
    def log(self, program: Program, folder: Path) -> Path:
        log = folder / "log"
        (folder / "ask.py").write_text(ASK.format(port=program.port, log=str(log)))
        return log

    def start(self, start: StartService, program: Program, log: Path, timeout: str) -> Service:
        program.publish("good1")
        ready = f"exec:{sys.executable} {log.parent / 'ask.py'}"
        options = ("--ready", ready, "--start-timeout", timeout)
        return start(program.command, listen=program.listen, options=options)

    def test_good_successor(self, start: StartService, program: Program, log: Path) -> None:
        service = self.start(start, program, log, "20s")
        assert log.read_text().split() == ["good1"]
        program.publish("good2")
        with Hammer(program.port) as hammer:
            hammer.wait_for("good1")
            assert service.reload().code == 0, service.stderr
            hammer.wait_for("good2")
        assert hammer.failures == []
        assert log.read_text().split() == ["good1", "good2"]

    def test_bad_successor(self, start: StartService, program: Program, log: Path) -> None:
        """The predecessor answers no probe, and serves again without any loss."""
        service = self.start(start, program, log, "3s")
        program.publish("bad2")
        with Hammer(program.port, clients=4) as hammer:
            hammer.wait_for("good1")
            outcome = service.reload()
            hammer.wait_for("good1")
        assert outcome.code == 1
        assert "not ready within the start timeout of 3 s" in outcome.stderr
        assert hammer.failures == []
        first, *others = log.read_text().split()
        assert first == "good1"
        assert set(others) == {"bad2"}
        wait.until(lambda: service.states() == {1: "running"}, "the successor to be gone")
        assert service.status()["generations"][0]["gate"] == "open"
        program.publish("good3")
        assert service.reload().code == 0, service.stderr
        assert program.ask() == "good3"

    def test_request_of_a_refused_successor_is_answered(
        self, start: StartService, program: Program, log: Path
    ) -> None:
        """It was accepted during the trial; refusing the release must not cut it off."""
        service = self.start(start, program, log, "3s")
        program.publish("bad2")
        with varlink.begin(service.control, "Reload") as reload:
            wait.until(lambda: service.states() == {1: "paused", 2: "pending"}, "the trial")
            wait.until(lambda: program.ask() == "bad2", "the successor to answer")
            with connect(("127.0.0.1", program.port)) as client:
                client.sendall(b"slow 4")
                with pytest.raises(varlink.VarlinkError):
                    varlink.finish(reload)
                assert read_all(client) == "bad2"
        assert program.ask() == "good1"

    def test_successor_dies_during_its_trial(
        self, start: StartService, program: Program, log: Path
    ) -> None:
        service = self.start(start, program, log, "30s")
        program.publish("bad2", "threading.Timer(0.7, os._exit, (9,)).start()\naccept(bound())\n")
        outcome = service.reload()
        assert outcome.code == 1
        assert "status 9" in outcome.stderr
        assert outcome.seconds < 30
        assert program.ask() == "good1"
        assert service.states() == {1: "running"}

    def test_predecessor_dies_during_the_trial(
        self, start: StartService, program: Program, log: Path
    ) -> None:
        service = self.start(start, program, log, "1.5s")
        program.publish("bad2")
        with varlink.begin(service.control, "Reload") as reload:
            wait.until(lambda: service.states() == {1: "paused", 2: "pending"}, "the trial")
            os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
            with pytest.raises(varlink.VarlinkError):
                varlink.finish(reload)
        program.publish("good3")
        wait.until(lambda: "running" in service.states().values(), "the next launch to serve")
        assert program.ask() == "good3"

    def test_probe_ends_with_its_children(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        """One that hangs is ended by the start timeout, and by the end of the service."""
        pids = folder / "pids"
        ready = f"exec:sleep 60 & echo $! $$ >> {pids}; wait"
        options = ("--ready", ready, "--start-timeout", "3s")
        service = start(program.command, listen=program.listen, options=options, ready=False)
        assert service.process.wait(10) == 1
        assert "start timeout" in service.stderr
        assert running(map(int, pids.read_text().split())) == []

    def test_probe_inherits_nothing_of_systemd(
        self, start: StartService, program: Program, folder: Path
    ) -> None:
        ready = f"exec:env > {folder}/env; ls /proc/self/fd > {folder}/fds"
        start(program.command, listen=program.listen, options=("--ready", ready))
        names = {line.partition("=")[0] for line in (folder / "env").read_text().splitlines()}
        assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"}
        assert "SOCKACT_NAME" in names
        # The last one is the folder that ls reads.
        assert (folder / "fds").read_text().split()[:-1] == ["0", "1", "2"]

    def test_http(self, start: StartService, program: Program) -> None:
        program.publish("good1", HTTP)
        url = f"http://127.0.0.1:{program.port}/health"
        options = ("--ready", url, "--start-timeout", "3s")
        service = start(program.command, listen=program.listen, options=options)
        program.publish("bad2", HTTP)
        assert service.reload().code == 1
        assert get(url) == "good1"
        program.publish("good3", HTTP)
        assert service.reload().code == 0, service.stderr
        assert get(url) == "good3"


def get(url: str) -> str:
    """The body of the answer."""
    with urllib.request.urlopen(url, timeout=wait.TIMEOUT) as answer:
        body: bytes = answer.read()
    return body.decode()
