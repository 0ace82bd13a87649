"""--listen-lanes of `sockact init`: how many equal lines the .socket unit has."""

from __future__ import annotations

import pytest

from sockact.units import unitfile
from tests.process.units.home import LISTEN, Home, home

__all__ = ["home"]  # fixtures

ADDRESS = LISTEN[1]
CANARY = ("--canary", "5% 1min")
WARM = ("--warm", "http://127.0.0.1:8000/")


def sections(home: Home, *arguments: str) -> tuple[list[str], list[str], str]:
    """The lines for TCP, ReusePort=, and the value of --lanes in what a system's units are."""
    done = home.init("web", *LISTEN, *arguments, "--dry-run", "--", "gunicorn")
    assert (done.returncode, done.stderr) == (0, "")
    _, socket, service = done.stdout.split("# /etc/systemd/system/")
    found = unitfile.parse(socket)["Socket"]
    words = unitfile.split(unitfile.parse(service)["Service"]["ExecStart"][0])
    lanes = words[words.index("--lanes") + 1] if "--lanes" in words else ""
    return found["ListenStream"], found.get("ReusePort", []), lanes


@pytest.mark.parametrize(
    ("arguments", "count", "lanes"),
    [
        ((), 1, ""),
        (("--listen-lanes", "0"), 1, ""),
        (("--listen-lanes", "1"), 1, ""),
        (("--listen-lanes", "2"), 2, "auto"),
        (("--listen-lanes", "6"), 6, "auto"),
        (("--listen-lanes", "4", "--lanes", "require"), 4, "require"),
        # Its supervisor is not root, and cannot open them itself.
        (("--lanes", "auto"), 3, "auto"),
        (CANARY, 3, "auto"),
        (WARM, 3, "auto"),
        (("--lanes", "auto", "--listen-lanes", "0"), 1, "auto"),
        (("--lanes", "require", "--user", "root"), 1, "require"),
    ],
)
def test_lines_of_the_socket_unit(
    home: Home, arguments: tuple[str, ...], count: int, lanes: str
) -> None:
    reuse = ["yes"] if count > 1 else []
    assert sections(home, *arguments) == ([ADDRESS] * count, reuse, lanes)


def test_a_user_manager_has_one_user(home: Home) -> None:
    home.written("--lanes", "require", "--", "gunicorn")
    found = unitfile.parse((home.units / "web.socket").read_text())["Socket"]
    assert found["ListenStream"] == [ADDRESS]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--listen-lanes", "7"), "7 is not in the range"),
        (("--listen-lanes", "many"), "is not a valid integer range"),
        (("--listen-lanes", "3", "--lanes", "off"), "--listen-lanes 3 needs lanes"),
        ((*CANARY, "--lanes", "off"), "--canary needs lanes; write --lanes auto"),
        ((*WARM, "--lanes", "off"), "--warm needs lanes; write --lanes auto"),
        (
            ("--listen-lanes", "3", "--listen", "/run/web.sock"),
            "Unix sockets have no lanes (/run/web.sock); listen on a TCP port instead",
        ),
    ],
)
def test_bad_input_is_one_line(home: Home, arguments: tuple[str, ...], hint: str) -> None:
    done = home.init("--user-unit", "web", *LISTEN, *arguments, "--", "gunicorn")
    assert done.returncode == 2
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.units.exists()


@pytest.mark.parametrize(("text", "count"), [('lanes = "require"\n', 3), ("", 1)])
def test_lanes_of_a_configuration_file(home: Home, text: str, count: int) -> None:
    path = home.folder / "web.toml"
    path.write_text(f'command = ["gunicorn"]\nlisten = ["{ADDRESS}"]\n{text}')
    done = home.init("web", "--config", str(path), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"ListenStream={ADDRESS}\n") == count
    done = home.init("web", "--config", str(path), "--listen-lanes", "2", "--dry-run")
    assert done.returncode == (0 if text else 2)
    if not text:
        assert 'set lanes = "auto" in' in done.stderr
