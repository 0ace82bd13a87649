"""`sockact exporter` with real services: what it serves, also with bad clients and services."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sockact.cli.exporter.server import MOST_CLIENTS
from tests import ROOT
from tests.support import varlink, wait
from tests.support.exporter import OPENMETRICS, Exporter
from tests.support.program import Program
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

COUNTERS = re.compile(r"^(sockact_\w+_(?:total|bucket|count|sum)\{.*\}) (\S+)$", re.MULTILINE)
LIVES, RELOADS = 6, 10


def together(folder: Path, *services: Service) -> Path:
    """A base folder with the runtime folders of all of them."""
    base = folder / "all"
    base.mkdir(exist_ok=True)
    for service in services:
        link = base / service.name
        link.unlink(missing_ok=True)
        link.symlink_to(service.runtime / service.name)
    return base


def counters(page: str) -> dict[str, float]:
    return {name: float(value) for name, value in COUNTERS.findall(page)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_counters_only_grow(start: StartService, program: Program, folder: Path) -> None:
    # Without a store for its listener, which would be still open after a kill.
    environment = {**os.environ, "SOCKACT_STATE_DIR": str(folder / "kept"), "FDSTORE": "0"}
    before: dict[str, float] = {}
    with Exporter(together(folder)) as exporter:

        def look() -> None:
            now = counters(exporter.page())
            # A missing service is a gap for Prometheus.
            assert not {name for name, value in before.items() if now.get(name, value) < value}
            before.update(now)

        for life in range(LIVES):
            service = start(program.command, listen=program.listen, environment=environment)
            together(folder, service)
            look()
            for _ in range(RELOADS if life else 0):
                assert service.reload().code == 0
                look()
            service.wait_drained()
            look()
            if life == LIVES - 1:
                break
            if life % 2:
                service.stop()
            else:
                _kill(service)
            look()
        reloads = (LIVES - 1) * RELOADS
        totals = varlink.call(service.control, "History")["totals"]
        assert sum(totals["drains"]["counts"]) == reloads
        assert totals["supervisor_starts"] == LIVES
        # Whoever has asked a second ago gets the same answer.
        drains = 'sockact_drain_duration_seconds_count{service="test"}'
        wait.until(lambda: counters(exporter.page()).get(drains) == reloads, "a fresh answer")
        found = counters(exporter.page())
    labels = '{kind="reload",outcome="committed",service="test"}'
    assert found[f"sockact_handovers_total{labels}"] == reloads
    assert found[f"sockact_handover_duration_seconds_count{labels}"] == reloads
    assert found['sockact_supervisor_starts_total{service="test"}'] == LIVES


def _kill(service: Service) -> None:
    """As if the machine's memory had run out."""
    (program,) = (one["pid"] for one in service.status()["generations"])
    service.process.kill()
    service.process.wait()
    service.remove_sockets()
    os.kill(program, signal.SIGKILL)
    os.waitpid(program, 0)  # An orphan is ours.


def test_prometheus_accepts_the_page(start: StartService, program: Program, folder: Path) -> None:
    service = start(program.command, listen=program.listen)
    assert service.reload("--wait-drained").code == 0
    with Exporter(service.runtime) as exporter:
        page = exporter.page()
    assert 'sockact_up{service="test"} 1.0' in page
    assert promtool("check", "metrics", given=page) == ""


def test_prometheus_accepts_the_alerts() -> None:
    rules = ROOT / "packaging" / "prometheus" / "sockact.rules.yml"
    assert "11 rules found" in promtool("check", "rules", str(rules))


def promtool(*arguments: str, given: str = "") -> str:
    """What it says; skips the test where it is missing."""
    tool = shutil.which("promtool") or shutil.which(
        "promtool", path=os.path.dirname(sys.executable)
    )
    if tool is None:
        pytest.skip("promtool is missing: it is in the package prometheus")
    done = subprocess.run(
        [tool, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_exemplars_are_the_ids_of_handovers(
    start: StartService, program: Program, folder: Path
) -> None:
    service = start(program.command, listen=program.listen)
    assert service.reload("--wait-drained").code == 0
    (entry,) = varlink.call(service.control, "History")["handovers"]
    with Exporter(service.runtime) as exporter:
        page = exporter.page(OPENMETRICS)
    found = [
        sample.exemplar.labels
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call, unused-ignore]
        for sample in family.samples
        if sample.exemplar
    ]
    assert found == [{"handover": entry["id"]}] * 2


def test_a_service_that_does_not_answer_does_not_block_the_others(
    start: StartService, program: Program, folder: Path
) -> None:
    service = start(program.command, listen=program.listen)
    (folder / "other").mkdir()
    other = Program(folder / "other")
    # Its supervisor is stopped: the kernel accepts the connection, and nobody reads.
    silent = start(other.command, listen=other.listen, name="silent")
    silent.signal(signal.SIGSTOP)
    try:
        with Exporter(together(folder, service, silent)) as exporter:
            page = exporter.page()
    finally:
        silent.signal(signal.SIGCONT)
    assert 'sockact_up{service="test"} 1.0' in page
    assert 'sockact_up{service="silent"} 0.0' in page
    assert "silent: the supervisor in" in exporter.errors.read_text()


def test_other_paths(folder: Path) -> None:
    with Exporter(folder / "run") as exporter:
        assert "/metrics" in exporter.get("/")
        for path in ("/other", "/metrics/x"):
            with pytest.raises(urllib.error.HTTPError):
                exporter.get(path)
        # No service runs: that is an answer.
        assert "sockact_up{" not in exporter.page("application/openmetrics-text; version=x;;;")


def test_clients_that_are_slow_or_leave(folder: Path) -> None:
    with Exporter(folder / "run") as exporter:
        address = "127.0.0.1", exporter.port
        slow = [socket.create_connection(address) for _ in range(MOST_CLIENTS * 2)]
        try:
            for client in slow:
                client.sendall(b"GET /met")
            assert "sockact_up" in exporter.page()
        finally:
            for client in slow:
                client.close()
        for _ in range(20):
            with socket.create_connection(address) as client:
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                reset = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        assert "sockact_up" in exporter.page()


def run(*arguments: str, launcher: Sequence[str] = SOCKACT) -> tuple[int, str]:
    done = subprocess.run(
        [*launcher, "exporter", *arguments],
        # These variables would make it start again, with -I.
        env={name: text for name, text in os.environ.items() if not name.startswith("PYTHON")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "value", ["", "x", "127.0.0.1", "127.0.0.1:0", "/run/x.sock", "udp:127.0.0.1:9", "[::1]:99999"]
)
def test_invalid_addresses(value: str) -> None:
    code, error = run("--listen", value)
    assert code == 2
    assert error.count("\n") == 1


def test_reasons_for_not_starting(folder: Path) -> None:
    code, error = run()
    assert code == 2
    assert error.startswith("sockact: no address given; add --listen 127.0.0.1:9927; see `")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, error = run("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert code == 1
    assert "in use" in error
    # Without the module, whatever this machine has.
    hide = "import sys; sys.modules['prometheus_client'] = None; "
    without = f"{hide}from sockact.__main__ import main; sys.exit(main())"
    address = f"127.0.0.1:{wait.free_port()}"
    code, error = run("--listen", address, launcher=(sys.executable, "-c", without))
    assert code == 1
    assert "install python3-prometheus-client" in error


@pytest.mark.slow
def test_disconnected_clients_do_not_pile_up(
    start: StartService, program: Program, folder: Path
) -> None:
    silent = start(program.command, listen=program.listen, name="silent")
    silent.signal(signal.SIGSTOP)
    try:
        with Exporter(together(folder, silent)) as exporter, contextlib.ExitStack() as left:
            for _ in range(MOST_CLIENTS * 4):
                client = left.enter_context(socket.create_connection(("127.0.0.1", exporter.port)))
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            most = 0
            # The last of them is answered when the supervisor has been given up.
            while not select.select([client], [], [], 0.05)[0]:
                most = max(most, len(os.listdir(f"/proc/{exporter.process.pid}/task")))
            # And those that ask the supervisors, and the first one.
            assert MOST_CLIENTS < most <= MOST_CLIENTS * 3 + 1
    finally:
        silent.signal(signal.SIGCONT)
