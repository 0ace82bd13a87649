"""The units that `sockact init` writes, and what systemd thinks of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.cli.setup.init import with_targets
from sockact.units.render import templates
from tests.process.units.home import Home, home, needs_systemd

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home"]  # fixtures

EXPOSURE = 2.5


def test_links_and_interpreters_below_home_are_seen(home: Home) -> None:
    script = home.program("app.py", "#!/home/me/venv/bin/python\n")
    link = home.folder / "link"
    link.symlink_to("/home/me/app")
    found = with_targets(str(script), str(link), "")
    assert {"/home/me/venv/bin/python", "/home/me/app", str(link)} <= {*found}
    assert "" not in found


def test_options_go_to_sockact_run_as_they_were_written(home: Home) -> None:
    options = (
        "--trial",
        "1min 30s",
        "--probe",
        "tcp",
        "--drain-timeout=2h",
        "--stop-signal",
        "INT",
    )
    found = home.words(*options, "--directory", ".", "--", "gunicorn", "-w", "2")
    end = found.index("--")
    assert found[:2] == ["--directory", str(home.folder)]
    pairs = set(zip(found[2:end:2], found[3:end:2], strict=True))
    wanted = {("--trial", "1min 30s"), ("--probe", "tcp"), ("--drain-timeout", "2h")}
    assert pairs == wanted | {("--stop-signal", "INT"), ("--identifier", "web")}
    assert found[end + 1 :] == [str(home.bin / "gunicorn"), "-w", "2"]


def test_words_of_the_program_survive(home: Home) -> None:
    nasty = ["", " ", "100%", "$HOME", "${A}", "a\\n", "q\"'", ";", "a\nb", "ä", "--", "--help"]
    assert home.words("--", "my prog", *nasty)[-len(nasty) :] == nasty


def test_a_program_behind_a_release_link_stays_one(home: Home) -> None:
    release = home.folder / "releases/1/bin"
    release.mkdir(parents=True)
    shutil.copy(home.bin / "gunicorn", release)
    (home.folder / "current").symlink_to("releases/1")
    found = home.words("--directory", "current", "--", "bin/gunicorn")
    current = str(home.folder / "current")
    own = ("--directory", current, "--identifier", "web")
    assert found == [*own, "--", f"{current}/bin/gunicorn"]


def test_a_file_with_variables(home: Home) -> None:
    (home.folder / "my 100%.env").write_text("A=1\n")
    found = home.written("--env-file", "my 100%.env", "--", "gunicorn")
    assert found["Service"]["EnvironmentFile"] == [f"{home.folder}/my 100%%.env"]


def test_programs_that_generate_code_are_allowed_to(home: Home) -> None:
    home.program("app.js", "#!/usr/bin/env -S node --inspect\n")
    assert home.written("--", "app.js")["Service"]["MemoryDenyWriteExecute"] == ["no"]


def analyze(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/tmp"}
    if path:
        environment["SYSTEMD_UNIT_PATH"] = f"{path}:"
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def rendered(folder: Path, home: Home) -> Path:
    """All that units/ has, with programs that are there, and what `sockact init` writes."""
    path = folder / "rendered"
    for name, text in templates.files().items():
        file = path / name.removeprefix("examples/")
        file.parent.mkdir(parents=True, exist_ok=True)
        here = text.replace("=sockact ", f"={home.bin}/sockact ")
        file.write_text(here.replace("/usr/bin/sockact", str(home.bin / "sockact")))
    listen = "sockact@myapp.socket.d"
    shutil.copytree(path / listen, path / "user" / listen)
    for listen, user in (("127.0.0.1:81", ()), ("/tmp/web.sock", ("--user", "daemon"))):
        done = home.init("web", "--listen", listen, *user, "--dry-run", "--", "gunicorn")
        service = done.stdout.partition("web.service\n")[2]
        (path / f"web{len(user)}.service").write_text(service.replace("web.socket", "myapp.socket"))
    return path


@needs_systemd
def test_systemd_has_nothing_to_say(rendered: Path) -> None:
    instance = ("sockact@myapp.service", "sockact@myapp.socket")
    names = ("myapp.service", "myapp.socket", "web0.service", "web2.service", *instance)
    done = analyze("verify", "--man=no", *names, path=rendered)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_a_user_manager_has_nothing_to_say(rendered: Path) -> None:
    names = ("sockact@myapp.service", "sockact@myapp.socket")
    done = analyze("--user", "verify", "--man=no", *names, path=rendered / "user")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("name", ["myapp", "web0", "web2", "sockact@"])
def test_exposure(rendered: Path, name: str) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", str(rendered / f"{name}.service"))
    line = next(line for line in done.stdout.splitlines() if "Overall exposure level" in line)
    assert float(line.partition(": ")[2].split()[0]) <= EXPOSURE, done.stdout
