"""The addresses on a program's own command line, beside the listeners."""

from __future__ import annotations

import shlex

import pytest

from sockact.systemd import listeners
from sockact.units import program_addresses


def problems(command: str, *listen: str) -> list[str]:
    found = [listeners.parse(text)[1] for text in listen]
    return program_addresses.mismatches(shlex.split(command), found)


@pytest.mark.parametrize(
    ("command", "listen"),
    [
        ("gunicorn --bind 127.0.0.1:80 a:a", "127.0.0.1:80"),
        ("gunicorn -b127.0.0.1:80 a:a", "0.0.0.0:80"),
        ("/srv/venv/bin/gunicorn --bind=[::1]:80 a:a", "[::]:80"),
        ("gunicorn -b :80 a:a", "[::]:80"),
        ("gunicorn -b unix:/run/x a:a", "/run/x"),
        ("gunicorn -b fd://3 a:a", "127.0.0.1:80"),
        ("gunicorn a:a", "127.0.0.1:80"),
        ("uvicorn --host localhost --port 80 a:a", "[::1]:80"),
        ("python3 -m uvicorn --uds /run/x a:a", "/run/x"),
        ("waitress-serve --listen=*:80 a:a", "0.0.0.0:80"),
        ("mine --bind 127.0.0.1:9 --port 7", "127.0.0.1:80"),
        ("gunicorn -b 127.0.0.1:80 -b 127.0.0.1:81", "127.0.0.1:80 127.0.0.1:81"),
    ],
)
def test_what_fits(command: str, listen: str) -> None:
    assert problems(command, *listen.split()) == []


@pytest.mark.parametrize(
    ("command", "listen", "hint"),
    [
        ("gunicorn --bind 127.0.0.1:80 a:a", "[::]:80", "write ListenStream=127.0.0.1:80 "),
        ("gunicorn --bind [::]:80 a:a", "0.0.0.0:80", "write ListenStream=[::]:80 "),
        ("gunicorn --bind 127.0.0.1:81 a:a", "127.0.0.1:80", "set ListenStream=127.0.0.1:81 "),
        ("uvicorn --port 81 a:a", "127.0.0.1:80", "set ListenStream=127.0.0.1:81 "),
        ("uvicorn --host ::1 --port=80 a:a", "127.0.0.1:80", "write ListenStream=[::1]:80 "),
        ("uvicorn --host ::1 --port=81 a:a", "127.0.0.1:80", "set ListenStream=[::1]:81 "),
        ("gunicorn -b unix:/run/y a:a", "/run/x", "set ListenStream=/run/y "),
        ("uvicorn --port 80 a:a", "udp:127.0.0.1:80", "set ListenStream=127.0.0.1:80 "),
    ],
)
def test_what_does_not_fit(command: str, listen: str, hint: str) -> None:
    (problem,) = problems(command, listen)
    assert hint in problem
    assert "\n" not in problem
