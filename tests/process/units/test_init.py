"""`sockact init`: what it refuses, what it writes, and what systemd thinks of that.

systemctl is a program of ours that writes down how it was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.cli.setup.init import with_targets
from sockact.units import unitfile
from sockact.units.render import templates
from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LISTEN = ("--listen", "127.0.0.1:8000")
SYSTEMCTL = (
    '#!/bin/sh\necho "$@" >> "$CALLS"\nif [ "$2" = "$FAIL" ]; then echo no >&2; exit 1; fi\n'
)
EXPOSURE = 2.5

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


class Home:
    """A user's directories, and a PATH with programs that only have to exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "config/systemd/user"
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        for name in ("sockact", "gunicorn", "my prog"):
            self.program(name, "#!/bin/sh\n")
        self.program("systemctl", SYSTEMCTL)

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def init(self, *arguments: str, fail: str = "none") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CALLS": str(self.calls),
            "FAIL": fail,
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [sys.executable, "-m", "sockact", "init", *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def written(self, *arguments: str) -> dict[str, dict[str, list[str]]]:
        """The sections of the .service unit that `sockact init` writes."""
        done = self.init("web", "--user-unit", *LISTEN, *arguments)
        assert done.returncode == 0, done.stderr
        return unitfile.parse((self.units / "web.service").read_text())

    def words(self, *arguments: str) -> list[str]:
        """The command line of the service, without that of sockact run."""
        line = self.written(*arguments)["Service"]["ExecStart"][0]
        words = unitfile.expand(unitfile.split(line), "web.service", {})
        assert words[:4] == [str(self.bin / "sockact"), "run", "--name", "web"]
        return words[4:]


@pytest.fixture
def home(folder: Path) -> Home:
    """An empty one."""
    return Home(folder)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "missing argument"),
        (("web", "--", "gunicorn"), "missing option '--listen'"),
        (("a/b", *LISTEN, "--", "gunicorn"), "is not a valid service name"),
        (("a@", *LISTEN, "--", "gunicorn"), "an instance, such as a@1"),
        (("a:b", *LISTEN, "--", "gunicorn"), "use a dash"),
        (("web.service", *LISTEN, "--", "gunicorn"), "named after the service; write web;"),
        (("web", *LISTEN), "write it last"),
        (("web", *LISTEN, "--", ""), "write its absolute path"),
        (("web", *LISTEN, "--", "nonexistent"), "such as /srv/myapp/venv/bin/nonexistent"),
        (("web", *LISTEN, "--", "./nonexistent"), "write its absolute path"),
        (("web", *LISTEN, "--", "gunicorn", "\udcff"), "because it is not UTF-8"),
        (("web", "--listen", "http", "--", "gunicorn"), "not an address"),
        (("web", "--listen", "/a\nb", "--", "gunicorn"), "cannot be written"),
        (("web", *LISTEN, *LISTEN, "--", "gunicorn"), "give it once"),
        (("web", "--listen", "a=1", "--listen", "b=2", "--", "gunicorn"), "one name for all"),
        (("web", "--listen", "a=1", "--listen", "2", "--", "gunicorn"), "one name for all"),
        (("web", "--listen", "/run/sockact/web/x", "--", "gunicorn"), "/run/web.sock"),
        (
            ("web", *LISTEN, "--user", "root", "--", "gunicorn"),
            "runs as its own user",
        ),
        (("web", *LISTEN, "--env-file", "nonexistent", "--", "gunicorn"), "does not exist"),
        (("web", *LISTEN, "--directory", "nonexistent", "--", "gunicorn"), "does not exist"),
        (("web", *LISTEN, "--drain-timeout", "soon", "--", "gunicorn"), "use, for example, 90"),
        (("web", *LISTEN, "--probe", "tcp", "--", "gunicorn"), "add --trial TIME"),
        (("web", *LISTEN, "gunicorn", "-w", "4", "a:a"), "write `--` before PROGRAM"),
        (("web", *LISTEN, "gunicorn", "a:a", "--log", "/x/y"), "write `--` before PROGRAM"),
        (("web", *LISTEN, "--on", "failed=nonexistent", "--", "gunicorn"), "install it"),
        (
            ("web", *LISTEN, "--stop-signal=INT", "--reopen-signal=INT", "--", "gunicorn"),
            "must be different signals",
        ),
        (("web", *LISTEN, "--log", "/a.log", "--", "gunicorn"), "write /var/log/NAME/a.log"),
        (("web", *LISTEN, "--remove"), "takes only NAME"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    home: Home, arguments: tuple[str, ...], hint: str
) -> None:
    done = home.init("--user-unit", *arguments)
    assert done.returncode == 2
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.units.exists()
    assert not home.calls.exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((*LISTEN, "--user", "no-such-user"), "create it with `useradd --system no-such-user`"),
        (("--listen", "/run/web.sock"), "add --user USER"),
    ],
)
def test_users_of_system_units(home: Home, arguments: tuple[str, ...], hint: str) -> None:
    done = home.init("web", *arguments, "--dry-run", "--", "gunicorn")
    assert (done.returncode, hint in done.stderr) == (2, True)


def test_it_shows_what_it_writes(home: Home) -> None:
    arguments = ("web", "--user-unit", *LISTEN, "--", "gunicorn")
    shown = home.init(*arguments, "--bind", "127.0.0.1:8000").stdout
    for name in ("web.socket", "web.service"):
        path = home.units / name
        assert f"# {path}\n{path.read_text()}" in shown
        assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in home.units.iterdir()) == ["web.service", "web.socket"]
    assert home.calls.read_text() == "--user --no-pager daemon-reload\n"


def test_a_dry_run_only_shows(home: Home) -> None:
    done = home.init("web", "--user-unit", *LISTEN, "--dry-run", "--enable", "--", "gunicorn")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ListenStream=127.0.0.1:8000\n" in done.stdout
    assert not home.units.exists()
    assert not home.calls.exists()


def test_enable(home: Home) -> None:
    """At boot, the service starts too, not only with its first client."""
    done = home.init("web", "--user-unit", *LISTEN, "--enable", "--", "gunicorn")
    calls = home.calls.read_text().splitlines()
    assert calls[-2:] == [
        "--user --no-pager enable web.socket web.service",
        "--user --no-pager start web.socket",
    ]
    said = done.stdout.splitlines()[-1]
    assert "Enabled web.socket and web.service, which start with your session" in said
    assert "Started web.socket." in said
    done = home.init("web", "--user-unit", *LISTEN, "--force", "--", "gunicorn")
    assert "`systemctl --user enable web.socket web.service` and " in done.stdout


def test_units_of_a_running_service(home: Home) -> None:
    arguments = ("web", "--user-unit", *LISTEN, "--", "gunicorn")
    assert home.init(*arguments).returncode == 0
    home.program("systemctl", f"{SYSTEMCTL}echo ActiveState=active\n")
    done = home.init("--force", *arguments)
    assert "web is running with its previous units, and a reload does not apply" in done.stdout
    assert "run `systemctl --user restart web` or, if --listen has changed, `" in done.stdout


def test_remove(home: Home) -> None:
    arguments = ("web", "--user-unit")
    done = home.init(*arguments, "--remove")
    assert (done.returncode, "there is no " in done.stderr) == (1, True)
    words = ("--path-unit", "--watch", "x")
    assert home.init(*arguments, *LISTEN, *words, "--", "gunicorn").returncode == 0
    units = {*home.units.iterdir()}
    done = home.init(*arguments, "--remove", "--dry-run")
    assert done.stdout.count("would remove ") == len(units) == 4
    assert {*home.units.iterdir()} == units
    done = home.init(*arguments, "--remove")
    assert "web: stopped and disabled; its units are removed" in done.stdout
    assert not [*home.units.iterdir()]
    assert home.calls.read_text().splitlines()[-2:] == [
        "--user --no-pager disable --now web.path web-reload.service web.service web.socket",
        "--user --no-pager daemon-reload",
    ]


def test_units_of_others_are_not_removed(home: Home) -> None:
    home.units.mkdir(parents=True)
    (home.units / "web.service").write_text("[Service]\nExecStart=sleep 1\n")
    done = home.init("web", "--user-unit", "--remove")
    assert (done.returncode, "was not written by `sockact init`" in done.stderr) == (1, True)
    assert (home.units / "web.service").exists()
    assert not home.calls.exists()


def test_what_systemd_refuses_is_told(home: Home) -> None:
    done = home.init("web", "--user-unit", *LISTEN, "--", "gunicorn", fail="--no-pager")
    assert done.returncode == 1
    assert "wrote the units of web, but `systemctl --user daemon-reload` failed: no" in done.stderr


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.parametrize("name", ["web.socket", "web.service"])
def test_nothing_is_overwritten_without_force(home: Home, name: str, kind: str) -> None:
    home.units.mkdir(parents=True)
    if kind == "file":
        (home.units / name).write_text("mine")
    else:
        (home.units / name).symlink_to("/dev/null")
    arguments = ("web", "--user-unit", *LISTEN)
    done = home.init(*arguments, "--", "gunicorn")
    assert (done.returncode, f"{name} exists; add --force" in done.stderr) == (2, True)
    assert [p.name for p in home.units.iterdir()] == [name]
    assert home.init(*arguments, "--force", "--", "gunicorn").returncode == 0
    assert "[Install]" in (home.units / name).read_text()


@needs_systemd
def test_units_of_packages_are_not_hidden_without_force(home: Home) -> None:
    arguments = ("systemd-exit", "--user-unit", *LISTEN)
    done = home.init(*arguments, "--", "gunicorn")
    assert (done.returncode, "would be overridden" in done.stderr) == (2, True)
    assert not home.units.exists()
    assert home.init(*arguments, "--force", "--", "gunicorn").returncode == 0


def test_a_relative_log(home: Home) -> None:
    done = home.init("web", "--user-unit", *LISTEN, "--log", "a.log", "--", "gunicorn")
    assert done.returncode == 0
    line = f"sockact: warning: --log a.log is relative: the unit has {home.folder}/a.log\n"
    assert done.stderr == line


def test_a_program_that_the_user_cannot_use(home: Home) -> None:
    home.folder.chmod(0o700)
    program = str(home.bin / "gunicorn")
    done = home.init("web", *LISTEN, "--user", "daemon", "--dry-run", "--", program)
    assert done.returncode == 0
    (warning, *_) = done.stderr.splitlines()
    who = f"the service cannot read {program} as user daemon, because of {home.folder} (drwx------)"
    assert warning.startswith(f"sockact: warning: {who}; ")
    assert f"run `chgrp daemon {home.folder} && chmod g+x {home.folder}`" in warning
    home.folder.chmod(0o755)
    (home.bin / "gunicorn").chmod(0o744)
    done = home.init("web", *LISTEN, "--dry-run", "--", program)
    assert f"the service cannot read {program} as its own user (-rwxr--r--)" in done.stderr


def test_links_and_interpreters_below_home_are_seen(home: Home) -> None:
    script = home.program("app.py", "#!/home/me/venv/bin/python\n")
    link = home.folder / "link"
    link.symlink_to("/home/me/app")
    found = with_targets(str(script), str(link), "")
    assert {"/home/me/venv/bin/python", "/home/me/app", str(link)} <= {*found}
    assert "" not in found


def test_a_folder_in_the_way(home: Home) -> None:
    (home.units / "web.service").mkdir(parents=True)
    done = home.init("web", "--user-unit", *LISTEN, "--force", "--", "gunicorn")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert [p.name for p in home.units.iterdir()] == ["web.service"]


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


def test_a_family_that_does_not_fit_is_told(home: Home) -> None:
    arguments = ("--dry-run", "--", "gunicorn", "--bind", "[::1]:8000")
    done = home.init("web", "--user-unit", *LISTEN, *arguments)
    assert done.returncode == 0
    assert done.stderr.startswith("sockact: warning: the program binds [::1]:8000, but")


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
