"""`sockact init --config`, and --path-unit: what they refuse, and what they write."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from sockact.units import unitfile
from tests.process.units.home import LISTEN, Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(folder: Path) -> Home:
    return Home(folder)


def write(home: Home, name: str = "web.json", **said: Any) -> Path:
    """A configuration file."""
    path = home.folder / name
    path.write_text(json.dumps({"command": ["gunicorn", "app:app"], **said}, indent=1))
    return path


CONFIG = ("web", "--config", "./web.json")


@pytest.mark.parametrize(
    ("said", "arguments", "hint"),
    [
        ({}, (*CONFIG, *LISTEN, "--", "gunicorn"), "the program is in ./web.json; leave it out"),
        ({}, CONFIG, "set listen in"),
        ({}, (*CONFIG, *LISTEN, "--directory", "/"), "set directory in"),
        ({}, ("web", "--config", "./none.json", *LISTEN), "none.json: No such file"),
        ({"adopt": "magic"}, (*CONFIG, *LISTEN), "web.json:6: adopt: 'magic'"),
        ({"command": ["none"]}, (*CONFIG, *LISTEN), "there is no program 'none'"),
        ({"listen": ["http"]}, CONFIG, "not an address"),
        ({}, (*CONFIG, *LISTEN, "--probe", "tcp"), "probe needs a trial"),
        ({}, (*CONFIG, *LISTEN, "--path-unit"), "add --watch PATH"),
        (
            {"watch": ["/etc"]},
            (*CONFIG, *LISTEN, "--path-unit", "--watch", "/srv"),
            "--path-unit replaces watch; remove watch from",
        ),
        ({}, ("web", *LISTEN, "--watch", "", "--", "gunicorn"), "is not a path"),
        (
            {},
            ("web", *LISTEN, "--watch", "/../.", "--", "gunicorn"),
            "is the root directory, which is too large to watch",
        ),
        ({}, ("web", *LISTEN, "--watch-ignore", "a/b", "--", "gunicorn"), "is not a file name"),
        ({}, ("web", *LISTEN, "--watch-ignore", "**", "--", "gunicorn"), "is not a file name"),
        (
            {},
            ("web", *LISTEN, "--path-unit", "--watch", "a\nb", "--", "gunicorn"),
            "cannot be written in a unit file",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    home: Home, said: dict[str, Any], arguments: tuple[str, ...], hint: str
) -> None:
    write(home, **said)
    done = home.init("--user-unit", *arguments)
    assert done.returncode == 2, done
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.units.exists()


def test_the_units_are_what_the_file_says(home: Home) -> None:
    said = {"listen": ["127.0.0.1:8000"], "drain-timeout": "1h", "identifier": "site"}
    path = write(home, name="web.json", **said)
    done = home.init("--user-unit", *CONFIG, "--max-draining", "2", "--watch", "conf")
    assert done.returncode == 0, done
    service = unitfile.parse((home.units / "web.service").read_text())["Service"]
    watch = f"--watch {home.folder}/conf"
    options = f"--config {path} --max-draining 2 {watch}"
    start = f"{home.bin}/sockact run {options}"
    assert sorted(service["ExecStart"][0].split()) == sorted(start.split())
    assert service["TimeoutStopSec"] == ["3630s"]
    socket = unitfile.parse((home.units / "web.socket").read_text())["Socket"]
    assert socket["ListenStream"] == ["127.0.0.1:8000"]
    assert "warning" not in done.stderr


def test_the_log_that_the_file_names(home: Home) -> None:
    write(home, listen=["127.0.0.1:8000"], log="/srv/web/app.log", **{"log-stderr": "/srv/e.log"})
    done = home.init("--user", "root", "--dry-run", *CONFIG)
    assert done.returncode == 0, done
    (line,) = re.findall("^ReadWritePaths=.*$", done.stdout, re.MULTILINE)
    assert ("/srv/web" in line, "/srv" in line) == (True, True)
    assert '\n"/srv/web/app.log" "/srv/e.log" {\n' in done.stdout


def test_a_path_unit_stands_for_the_watching(home: Home) -> None:
    words = ("--path-unit", "--watch", "my conf", "--watch", "/etc/100%", "--enable")
    done = home.init("web", "--user-unit", *LISTEN, *words, "--", "gunicorn")
    assert done.returncode == 0, done
    assert "--watch" not in (home.units / "web.service").read_text()
    path = unitfile.parse((home.units / "web.path").read_text())["Path"]
    assert path["PathChanged"] == [f"{home.folder}/my conf", "/etc/100%%"]
    reload = unitfile.parse((home.units / "web-reload.service").read_text())["Service"]
    assert reload["ExecStart"] == ["systemctl --user reload web.service"]
    calls = home.calls.read_text()
    assert "enable web.socket web.service web.path" in calls
    assert "start web.socket" in calls
