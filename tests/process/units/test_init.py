"""`sockact init`: what it refuses, and what it does with files and systemd."""

from __future__ import annotations

import pytest

from tests.process.units.home import LISTEN, SYSTEMCTL, Home, home, needs_systemd

__all__ = ["home"]  # fixtures


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


def test_a_warm_up(home: Home) -> None:
    """The unit has another working directory, and waits for the warm-up at a reload."""
    (home.folder / "paths").write_text("/\n")
    words = ("--lanes", "auto", "--warm", "@paths", "--warm-timeout", "5min")
    done = home.init("web", "--user-unit", *LISTEN, *words, "--", "gunicorn")
    assert done.returncode == 0, done.stderr
    unit = (home.units / "web.service").read_text()
    assert f"--warm @{home.folder}/paths --warm-timeout 5min" in " ".join(unit.split())
    assert "TimeoutStartSec=7min\n" in unit


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
    line = f"sockact: warning: --log a.log is relative; the unit uses {home.folder}/a.log\n"
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


def test_a_folder_in_the_way(home: Home) -> None:
    (home.units / "web.service").mkdir(parents=True)
    done = home.init("web", "--user-unit", *LISTEN, "--force", "--", "gunicorn")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert [p.name for p in home.units.iterdir()] == ["web.service"]


def test_a_family_that_does_not_fit_is_told(home: Home) -> None:
    arguments = ("--dry-run", "--", "gunicorn", "--bind", "[::1]:8000")
    done = home.init("web", "--user-unit", *LISTEN, *arguments)
    assert done.returncode == 0
    assert done.stderr.startswith("sockact: warning: the program binds [::1]:8000, but")
