"""`sockact init --log`: the unit may write there, and logrotate knows of it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.units import unitfile
from sockact.units.render import logrotate
from tests import ROOT
from tests.process.units.home import LISTEN, Home

if TYPE_CHECKING:
    from pathlib import Path

USER = "daemon"

needs_user = pytest.mark.skipif(
    USER not in [one.pw_name for one in pwd.getpwall()], reason=f"there is no user {USER}"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def shown(home: Home, *arguments: str) -> dict[str, str]:
    """Path → text, for a system unit that is not written."""
    done = home.init("web", "--dry-run", *LISTEN, *arguments, "--", "gunicorn")
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = {}
    path = ""
    for line in done.stdout.splitlines(keepends=True):
        if line.startswith("# /etc/"):
            path = line[2:-1]
            found[path] = ""
        else:
            found[path] += line
    return found


def service(files: dict[str, str]) -> dict[str, list[str]]:
    return unitfile.parse(files["/etc/systemd/system/web.service"])["Service"]


def test_below_var_log(home: Home) -> None:
    files = shown(home, "--log", "/var/log/web/out.log", "--log-stderr", "/var/log/web/err.log")
    assert service(files)["LogsDirectory"] == ['"web"']
    assert "ReadWritePaths" not in service(files)
    snippet = files["/etc/logrotate.d/sockact-web"]
    assert '\n"/var/log/web/out.log" "/var/log/web/err.log" {\n' in snippet
    assert f"{home.bin}/sockact rotate web\n" in snippet
    assert "su " not in snippet


@needs_user
def test_elsewhere_for_a_user(home: Home) -> None:
    # A path is made absolute: the unit has another working directory.
    files = shown(home, "--user", USER, "--log", "logs/../out.log")
    log = home.folder / "out.log"
    assert f"--log {log} --" in service(files)["ExecStart"][0]
    assert f'"-{home.folder}"' in service(files)["ReadWritePaths"]
    assert f"\n    su {USER} {USER}\n" in files["/etc/logrotate.d/sockact-web"]


def test_a_device_is_not_rotated(home: Home) -> None:
    files = shown(home, "--log", "/dev/null")
    assert sorted(files) == [f"/etc/systemd/system/web.{kind}" for kind in ("service", "socket")]
    assert not {"LogsDirectory", "ReadWritePaths"} & {*service(files)}


def test_without_a_log_nothing_changes(home: Home) -> None:
    files = shown(home)
    assert not {"LogsDirectory", "ReadWritePaths"} & {*service(files)}
    assert not [path for path in files if "logrotate" in path]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/var/log/web.log", "only root may create files there"),
        ("/var/log/web/*.log", "is special in logrotate"),
        ('/var/log/web/".log', "is special in logrotate"),
        ("/var/log/web/a\nb", "contains unprintable characters"),
        ("/var/log", "is a directory"),
    ],
)
def test_what_is_refused(home: Home, path: str, why: str) -> None:
    done = home.init("web", "--dry-run", *LISTEN, "--log", path, "--", "gunicorn")
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""


def test_a_users_own_unit(home: Home) -> None:
    done = home.init("web", "--user-unit", *LISTEN, "--log", "out.log", "--", "gunicorn")
    assert done.returncode == 0, done.stderr
    assert "`sockact rotate web`" in done.stdout
    assert "logrotate.d" not in done.stdout


def test_the_example() -> None:
    example = (ROOT / "packaging" / "logrotate" / "sockact-myapp").read_text()
    paths = ("/var/log/myapp/myapp.log",)
    wanted = logrotate.snippet("myapp", paths, "/usr/bin/sockact", ("myapp", "myapp"))
    assert example == wanted


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed")
@needs_user
def test_logrotate_takes_it(tmp_path: Path) -> None:
    log = tmp_path / "a log.log"
    log.write_text("a line\n")
    called = tmp_path / "called"
    program = tmp_path / "sockact"
    program.write_text(f'#!/bin/sh\necho "$@" > {called}\ntest -e "{log}.1"\n')
    program.chmod(0o755)
    # As /bin/sh has it when there is no systemctl: its answer is not 0.
    text = logrotate.snippet("web", (str(log),), str(program), None)
    path = tmp_path / logrotate.file_name("web")
    path.write_text(text)
    path.chmod(0o644)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho 12\n")
    (tmp_path / "systemctl").chmod(0o755)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["logrotate", "-s", str(tmp_path / "state"), *options, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    checked = run("-d")
    assert checked.returncode == 0, checked.stderr
    assert "error" not in checked.stderr
    done = run("-f")
    assert done.returncode == 0, done.stderr
    assert called.read_text() == "rotate web\n"
    assert log.with_name("a log.log.1.gz").exists()
    assert not log.exists()
