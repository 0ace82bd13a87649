"""A failed reload names in its headline what went wrong in the program: docs/lifecycle.md."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import varlink, wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []

def create_app():
    return app
"""
ASGI = """
async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""
DEEP = """
def descend(depth):
    return descend(depth - 1) if depth else {}["DATABASE_URL"]

for way in range(30):
    exec(f"def way_{way}(): return " + (f"way_{way - 1}()" if way else "descend(9)"))
way_29()
"""
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}")
UVICORN = ("uvicorn", "--port", "{port}")
IMPORT = "import nonexistent_dependency\n"


class Deployed:
    """A release on disk, served by a stock server."""

    def __init__(self, start: StartService, folder: Path, server: tuple[str, ...]) -> None:
        self.path = folder / "app.py"
        self.path.write_text(WSGI if server[0] == "gunicorn" else ASGI)
        port = wait.free_port()
        words = [sys.executable, "-m", *(word.format(port=port) for word in server)]
        variables = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.service: Service = start(
            words,
            listen=(f"127.0.0.1:{port}",),
            options=("--start-timeout", "20s"),
            environment=variables,
        )


@pytest.mark.parametrize(
    ("server", "release", "cause"),
    [
        ((*GUNICORN, "app:app"), IMPORT, "ModuleNotFoundError: No module named 'nonexistent_dep"),
        ((*GUNICORN, "app:app"), "def broken(:\n", "SyntaxError: "),
        ((*GUNICORN, "app:app"), DEEP, "KeyError: 'DATABASE_URL'"),
        ((*GUNICORN, "app:app"), "application = None\n", "Failed to find attribute 'app' in 'app'"),
        (
            (*GUNICORN, "app:create_app()"),
            "def create_app():\n    raise RuntimeError('no database')\n",
            "RuntimeError: no database",
        ),
        ((*UVICORN, "app:app"), "x = 1\n", 'Attribute "app" not found in module "app"'),
        ((*UVICORN, "app:app"), "raise SystemExit('no database')\n", "no database"),
    ],
)
def test_a_broken_release(
    start: StartService, folder: Path, server: tuple[str, ...], release: str, cause: str
) -> None:
    deployed = Deployed(start, folder, server)
    deployed.path.write_text(release)
    outcome = deployed.service.reload()
    assert outcome.code == 1
    headline, *quoted = outcome.stderr.splitlines()
    assert cause in headline
    assert any(cause.split(": ")[-1].rstrip("'") in line for line in quoted)
    assert len(quoted) <= 41


def test_everything_that_tells_the_reason_tells_the_cause(
    start: StartService, folder: Path
) -> None:
    service = Deployed(start, folder, (*GUNICORN, "app:app")).service
    (folder / "app.py").write_text(IMPORT)
    answered = service.reload("--json").json()
    cause = "ModuleNotFoundError: No module named 'nonexistent_dependency'"
    assert answered["reason"].endswith(cause)
    assert service.status()["handover"]["reason"] == answered["reason"]
    assert service.status()["starts"]["failures"][-1]["reason"] == answered["reason"]
    recorded = varlink.call(service.control, "History")["handovers"][-1]
    assert recorded["reason"] == answered["reason"]
    while message := service.notify.receive():
        if cause in (message.get("STATUS") or ""):
            break
    else:
        pytest.fail("systemd is not told")
    told = [line for line in service.stderr.splitlines() if cause in line]
    assert told == [cause, f"sockact: test: generation 2: reload failed: {answered['reason']}"]


def test_with_a_log(start: StartService, folder: Path) -> None:
    program, log, hook = folder / "program.py", folder / "log", folder / "hook.json"
    port = wait.free_port()
    server = "http.server.HTTPServer(('127.0.0.1', PORT), None).serve_forever()"
    program.write_text(f"PORT = {port}\nimport http.server\n{server}\n")
    service = start(
        [sys.executable, str(program)],
        listen=(f"127.0.0.1:{port}",),
        options=(
            "--log",
            str(log),
            "--on",
            f"failed=sh -c 'cat >{hook}.new; mv {hook}.new {hook}'",
        ),
    )
    program.write_text("import sys\nsys.exit('no database')\n")
    outcome = service.reload()
    assert "before it was ready: no database" in outcome.stderr.splitlines()[0]
    wait.until(hook.exists, "the hook")
    assert "exited with status 1" in json.loads(hook.read_text())["reason"]


OUT, ERR = "print({!r}, flush=True)\n", "print({!r}, file=sys.stderr, flush=True)\n"


@pytest.mark.parametrize("log", ["", "--log {}/log", "--log {}/out --log-stderr {}/err"])
@pytest.mark.parametrize(
    ("says", "cause"),
    [
        (OUT.format("*** FATAL CONFIG FILE ERROR ***") + OUT.format("Bad directive"), "Bad dir"),
        (OUT.format("[ERROR] no database") + ERR.format("bye"), "[ERROR] no database"),
        (OUT.format("no database") + ERR.format("WARNING: bye"), "no database"),
        (OUT.format("starting") + ERR.format("no database"), "no database"),
    ],
)
def test_whatever_stream_it_wrote_to(
    start: StartService, program: Program, folder: Path, log: str, says: str, cause: str
) -> None:
    options = tuple(log.replace("{}", str(folder)).split())
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2", f"{says}sys.exit(1)\n")
    outcome = service.reload()
    headline, *quoted = outcome.stderr.splitlines()
    assert cause in headline
    status = service.status()["handover"]
    recorded = varlink.call(service.control, "History")["handovers"][-1]
    assert status["reason"] in headline
    assert recorded["reason"] == status["reason"]
    said = [line for line in says.split("'") if line in status["stderr"]]
    assert sorted(quoted) == sorted(f"  | {line}" for line in said)
    assert len(said) == 2
    if not log:
        written = service.stderr.splitlines()
        assert [written.count(line) for line in said] == [1, 1]
