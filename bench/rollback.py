"""Measures rollbacks: from the failed probe to the first answer of the previous generation."""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.exchange import Failed
from tests.servers import zoo
from tests.support import wait
from tests.support.deployment import Deployment, deploy

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = ("uvicorn asyncio", "gunicorn gthread", "gunicorn sync", "waitress", "http.server 1.1")
GOOD = "1"


@dataclass
class Rollbacks:
    """Results of one server. Times in seconds of the wall clock, as in the probe's `date`."""

    name: str
    delays: list[float] = field(default_factory=list)
    requests: int = 0
    failures: list[str] = field(default_factory=list)


def measure(name: str, count: int) -> Rollbacks:
    """Deploy `count` releases whose probe starts to fail during the trial."""
    found = Rollbacks(name)
    with temporary() as folder:
        healthy, failed = folder / "healthy", folder / "failed"
        probe = (
            f"exec:test -e {shlex.quote(str(healthy))} || "
            f"{{ date +%s.%N > {shlex.quote(str(failed))}; exit 1; }}"
        )
        options = ("--trial", "60s", "--probe", probe, "--probe-interval", "100ms")
        deployment = deploy(zoo.BY_NAME[name], folder, options)
        with deployment.service as service:
            service.wait_ready()
            for number in range(2, count + 2):
                healthy.touch()
                failed.unlink(missing_ok=True)
                found.delays.append(_once(deployment, str(number), healthy, failed, found))
                service.wait_drained()
    return found


def _once(deployment: Deployment, bad: str, healthy: Path, failed: Path, found: Rollbacks) -> float:
    deployment.releases.publish(bad)
    reload = threading.Thread(target=deployment.service.reload)
    reload.start()
    _ask_until(deployment, bad, found)
    healthy.unlink()
    wait.until(failed.exists, "the probe to fail")
    answered = _ask_until(deployment, GOOD, found)
    reload.join()
    return answered - float(wait.until(failed.read_text, "its time"))


def _ask_until(deployment: Deployment, wanted: str, found: Rollbacks) -> float:
    """Connect new clients until the wanted version answers; return the time."""
    deadline = time.monotonic() + wait.TIMEOUT
    while time.monotonic() < deadline:
        found.requests += 1
        try:
            version = deployment.version()
        except (OSError, Failed) as error:
            found.failures.append(str(error))
            continue
        if version == wanted:
            return time.time()
    raise TimeoutError(f"version {wanted} did not answer")
