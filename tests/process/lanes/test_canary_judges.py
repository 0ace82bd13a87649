"""What refuses a canary: judges, the deaths of its workers, and too little to judge by."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sockact.kernel import pidfd
from tests.process.lanes.test_canary import HELD, LANES, begin, canary
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

WORSE = "canary refused: worse than the previous generation: "


@pytest.fixture
def service(start: StartService, program: Program) -> Service:
    """Runs generation 1; the next one is of release 2."""
    options = (*LANES, "--release-version", f"file:{program.path.with_suffix('.version')}")
    program.path.with_suffix(".version").write_text("one")
    service = start(program.command, listen=program.listen, options=options)
    program.path.with_suffix(".version").write_text('two"\\')
    program.publish("2")
    return service


def test_a_command_refuses(service: Service, program: Program) -> None:
    judge = (
        "exec:test $SOCKACT_GENERATION = 2 -a $SOCKACT_PREDECESSOR = 1 || exit 0; "
        "echo asked; echo 5 of 9 orders failed >&2; exit 1"
    )
    outcome = service.reload("--canary", HELD, "--judge", judge)
    assert outcome.code == 1
    reason = f"{WORSE}test: 5 of 9 orders failed"
    assert f"generation 2 failed: {reason}; generation 1 is still serving" in outcome.stderr
    assert reason in service.stderr
    assert service.status()["handover"]["reason"] == reason
    assert reason in service.run("history", service.name).stdout.replace("\n      ", " ")
    service.wait_drained()
    assert {program.ask() for _ in range(20)} == {"1"}


def test_a_command_finds_it_good(service: Service) -> None:
    outcome = service.reload("--canary", "50% 1s", "--judge", "exec:echo fine")
    assert outcome.code == 0, outcome.stderr
    assert "canary: gets all clients (echo: fine)" in service.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("exec:echo no data; exit 75", "echo cannot say: no data"),
        ("exec:kill -9 $$", "kill cannot say: was killed by signal 9"),
        ("exec:exit 2", "exit cannot say: exited with status 2"),
    ],
)
def test_a_command_that_cannot_say(service: Service, command: str, said: str) -> None:
    """It is reported, and a step in doubt ends as was asked for."""
    doubt = ("--canary", "50% 1s", "--judge", command)
    outcome = service.reload(*doubt, "--unsure", "rollback")
    assert outcome.code == 1
    assert f"canary refused: not enough seen at 50%: {said}" in outcome.stderr
    assert f"generation 2: canary: {said}\n" in service.stderr
    outcome = service.reload(*doubt, "--canary-timeout", "1s")
    assert outcome.code == 1
    assert f"canary refused: not enough seen at 50%: {said}" in outcome.stderr
    outcome = service.reload(*doubt, "--unsure", "promote")
    assert outcome.code == 0, outcome.stderr


class Prometheus(ThreadingHTTPServer):
    """Answers each query with the same body, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body = b""
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    def finds(self, *values: str) -> None:
        """Answer with a vector of these values."""
        result = [{"metric": {}, "value": [1.5, value]} for value in values]
        data = {"resultType": "vector", "result": result}
        self.body = json.dumps({"status": "success", "data": data}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Prometheus)
        parts = urlsplit(self.path)
        assert parts.path == "/prom/api/v1/query"
        self.server.asked += parse_qs(parts.query)["query"]
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with Prometheus() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def promql(server: Prometheus, query: str) -> str:
    return f"promql:http://127.0.0.1:{server.server_port}/prom {query}"


def test_a_query_refuses(service: Service, prometheus: Prometheus) -> None:
    prometheus.finds("0.25")
    query = "sum(rate(errors{generation={generation},version={version},from!={baseline}}[1m]))"
    outcome = service.reload("--canary", HELD, "--judge", promql(prometheus, f"{query} <= 0.2"))
    filled = 'sum(rate(errors{generation="2",version="two\\"\\\\",from!="1"}[1m]))'
    assert prometheus.asked == [filled]
    assert outcome.code == 1
    assert f"{WORSE}promql: 0.25 is not <= 0.2: {filled}" in outcome.stderr


def test_a_query_finds_it_good(service: Service, prometheus: Prometheus) -> None:
    prometheus.finds("3")
    outcome = service.reload("--canary", "50% 1s", "--judge", promql(prometheus, "up > 2"))
    assert outcome.code == 0, outcome.stderr
    assert "gets all clients (promql: 3 is > 2: up)" in service.stderr


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "got status 200"),
        (b'{"status": "error", "error": "parse\\nerror"}', "got status 200: parse error"),
        (b'{"status": "success"}', "the answer is not that of a Prometheus server"),
        (
            b'{"status": "success", "data": {"resultType": "vector", "result": []}}',
            "the query has no result",
        ),
        (
            b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "NaN"]}}',
            "the result is not a number (NaN)",
        ),
        (
            b'{"status": "success", "data": {"resultType": "matrix", "result": []}}',
            "the result is a matrix, not a number",
        ),
    ],
)
def test_answers_that_say_nothing(
    service: Service, prometheus: Prometheus, body: bytes, said: str
) -> None:
    prometheus.body = body
    judge = promql(prometheus, "up < 2")
    outcome = service.reload("--canary", "50% 1s", "--judge", judge, "--unsure", "rollback")
    assert outcome.code == 1
    assert f"promql cannot say: {said}" in outcome.stderr


def test_a_server_that_is_not_there(service: Service) -> None:
    judge = f"promql:http://127.0.0.1:{wait.free_port()} up < 2"
    outcome = service.reload("--canary", "50% 1s", "--judge", judge, "--unsure", "rollback")
    assert outcome.code == 1
    assert "promql cannot say: no answer (Connection refused)" in outcome.stderr


@pytest.mark.parametrize(
    ("judge", "complaint"),
    [
        ("http://localhost/health", "is not a judge; use 'promql:URL QUERY < LIMIT' or exec:"),
        ("promql:http://localhost:9090 up", "has no comparison"),
        ("exec:echo 'open", "No closing quotation"),
    ],
)
def test_judges_that_are_none(service: Service, judge: str, complaint: str) -> None:
    for words in (
        ("reload", service.name, "--canary", HELD, "--judge", judge),
        ("run", "--judge", judge, "--", "true"),
    ):
        outcome = service.run(*words)
        assert outcome.code == 2
        assert len(outcome.stderr.splitlines()) == 1
        assert complaint in outcome.stderr


def test_options_without_steps(service: Service) -> None:
    outcome = service.reload("--unsure", "promote")
    assert outcome.code == 2
    assert "--unsure needs --canary, the steps" in outcome.stderr


def test_an_upgrade_waits_for_a_judge_and_asks_again(service: Service, program: Program) -> None:
    asked = program.path.with_suffix(".asked")
    begin(service, HELD, "--judge", f"exec:echo >> {asked}; exit 0")
    wait.until(lambda: (canary(service) or {})["verdict"] == "better-or-same", "its answer")
    assert service.run("upgrade", service.name).code == 0, service.stderr
    wait.until(lambda: asked.read_text() == "\n\n", "its second answer")
    assert service.run("promote", service.name).code == 0


WORKERS = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel reaps them.
for _ in range(20):
    subprocess.Popen(["sleep", "1000"])
"""


def kernel_tells() -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    fd = os.pidfd_open(pid)
    try:
        os.waitpid(pid, 0)
        return pidfd.wait_status(fd) == 3 << 8
    finally:
        os.close(fd)


@pytest.mark.skipif(not kernel_tells(), reason="needs Linux 6.15: PIDFD_INFO_EXIT")
def test_the_deaths_of_its_workers_refuse_it(service: Service, program: Program) -> None:
    program.publish("2", WORKERS + "accept(bound())\n")
    begin(service)
    found = next(one for one in service.status()["generations"] if one["number"] == 2)
    workers = [pid for pid in found["pids"] if pid != found["pid"]]
    assert len(workers) == 20
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait.until(lambda: canary(service) is None, "the refusal")
    assert f"{WORSE}20 workers died (before: 0)" in service.stderr
    service.wait_drained()
    assert service.states() == {1: "running"}
