"""The command line: what it refuses, and what it hands to the supervisor."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

import sockact
from sockact.cli import main as cli_main
from sockact.cli.terminal import output
from sockact.core import numbers
from sockact.core.settings import Adopt, Settings
from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def env(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime directory in which nothing runs."""
    monkeypatch.setenv("SOCKACT_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("SOCKACT_NAME", raising=False)


def runner() -> CliRunner:
    """One that keeps stderr apart; click before 8.2 mixes it into the output unless it is told."""
    old = "mix_stderr" in inspect.signature(CliRunner).parameters
    options: dict[str, Any] = {"mix_stderr": False} if old else {}
    return CliRunner(**options)


def invoke(*arguments: str) -> Result:
    return runner().invoke(cli_main.cli, arguments, prog_name="sockact")


def settings_of(*arguments: str) -> Settings:
    """As the supervisor puts them together."""
    result = runner().invoke(cli_main.cli, ["run", *arguments], catch_exceptions=False)
    assert isinstance(result.return_value, Settings), result.stderr
    return Settings.from_json(result.return_value.to_json())


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("nonsense",), "unknown command 'nonsense'"),
        (("--nonsense",), "unknown option '--nonsense'"),
        (("canary", "web", "101%"), "invalid value for SHARE: the share 101% must be"),
        (("run",), "put it last"),
        (("run", "--"), "put it last"),
        (("run", "--name", "a"), "put it last"),
        (("run", "--nonsense", "--", "a"), "unknown option '--nonsense'"),
        (("run", "--name", "../a", "a"), "is not a valid service name"),
        (("run", "--name", ".a", "a"), "that do not start with a dot or a dash"),
        (("run", "--name", "", "a"), "is not a valid service name"),
        (("run", "--name=-x", "a"), "that do not start with a dot or a dash"),
        (("run", "./my app"), "choose one with --name"),
        (("run", ""), "choose one with --name"),
        (("run", "--adopt", "magic", "a"), "'seccomp', 'seccomp-connect', 'shim', 'native'"),
        (("run", "--ready", "soon", "a"), "use interest, notify"),
        (("run", "--ready", "https://localhost/", "a"), "use interest, notify"),
        (("run", "--ready", "http:///path", "a"), "use one such as http://localhost/health"),
        (("run", "--ready", "http://h:port/", "a"), "use one such as http://localhost/health"),
        (("run", "--ready", "http://[::1/", "a"), "use one such as http://localhost/health"),
        (("run", "--ready", "exec:", "a"), "exec:COMMAND"),
        (("run", "--ready", "exec:'a", "a"), "cannot split"),
        (("run", "--directory", "/nonexistent", "a"), "does not exist"),
        (("run", "--start-timeout", "soon", "a"), "use, for example, 90"),
        (("run", "--start-timeout", "0", "a"), "use a time greater than 0"),
        (("run", "--drain-timeout", "infinity", "a"), "the maximum is 7d"),
        (("run", "--drain-timeout", "\u0661\u0662s", "a"), "use, for example, 90"),
        (("run", "--kill-timeout", "8d", "a"), "the maximum is 7d"),
        (("run", "--close-spread", "2min", "a"), "must not be longer than --drain-timeout"),
        (("run", "--probe", "tcp", "a"), "add --trial TIME"),
        (("run", "--trial", "9", "--probe", "https://h/", "a"), "exec:COMMAND or tcp"),
        (
            ("run", "--trial", "9", "--probe", "http:///path", "a"),
            "such as http://localhost/health",
        ),
        (("run", "--trial", "9", "--probe", "exec:", "a"), "exec:COMMAND or tcp"),
        (("run", "--trial", "9", "--probe", "http://h/a b", "a"), "a space is %20"),
        (("run", "--trial", "9", "--probe", "http://h/\n", "a"), "percent-encode"),
        (("run", "--ready", "http://h/\u00fc", "a"), "percent-encode"),
        (("run", "--ready", "http://u:p@h/", "a"), "names a user"),
        (("run", "--trial", "9", "--probe-threshold", "2", "a"), "needs --probe KIND"),
        (("run", "--trial", "9", "--probe-timeout", "2", "a"), "needs --probe KIND"),
        (("run", "--trial", "9", "--probe-interval", "2", "a"), "needs --probe KIND"),
        (("run", "--probe-status", "299-200", "a"), "use 200-299 or 204"),
        (("run", "--probe-status", "20", "a"), "use 200-299 or 204"),
        (("run", "--probe-status", "204", "a"), "--probe-status needs --probe http://"),
        (("run", "--probe-body", "ok", "a"), "--probe-body needs --probe http://"),
        (("run", "--probe-threshold", "0", "a"), "1<=x<=999"),
        (("run", "--probe-interval", "0", "a"), "use a time greater than 0"),
        (("run", "--max-draining", "0", "a"), "1<=x<=99"),
        (("run", "--stop-signal", "SIGNONE", "a"), "use a name such as SIGINT"),
        (("run", "--stop-signal", "99", "a"), "use a name such as SIGINT"),
        (("run", "--stop-signal", "KILL", "a"), "SIGKILL cannot be caught"),
        (("run", "--reopen-signal", "SIGNONE", "a"), "use a name such as SIGINT"),
        (("run", "--reopen-signal", "", "a"), "use a name such as SIGINT"),
        (("run", "--reopen-signal", "50", "a"), "use a name such as SIGINT"),
        (("run", "--reopen-signal", "STOP", "a"), "SIGSTOP cannot be caught"),
        (("run", "--reopen-signal", "term", "a"), "must be different signals"),
        (("reload", "--timeout", "-1"), "use, for example, 90"),
        (("reload", "a/b"), "is not a valid service name"),
        (("stop", "a", "b"), "unexpected extra argument"),
        (("check", "a/b"), "write a name such as myapp.service"),
        (("init", "a", "--", "b"), "missing option '--listen'"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], hint: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("sockact: ")
    assert result.stderr.count("\n") == 1
    assert hint in result.stderr
    assert "--help" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("relaod",), "unknown command 'relaod'; did you mean 'reload'?"),
        (("statsu", "app"), "unknown command 'statsu'; did you mean 'status'?"),
        (("status", "--jsn"), "unknown option '--jsn'; did you mean '--json'?"),
    ],
)
def test_the_nearest_word_is_named(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"sockact: {message}\n")


@pytest.mark.parametrize("name", list(cli_main.cli.list_commands(click.Context(cli_main.cli))))
def test_each_help_fits(name: str) -> None:
    result = runner().invoke(cli_main.cli, [name, "--help"], prog_name="sockact")
    assert max(map(len, result.stdout.splitlines())) <= 80
    if cli_main._COMMANDS[name] == "running":
        assert "\n  Example:\n    " in result.stdout


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("command", ["reload", "status", "stop"])
@pytest.mark.parametrize("name", [(), ("app",)])
def test_nothing_runs(command: str, name: tuple[str, ...], folder: Path) -> None:
    result = invoke(command, *name)
    assert result.exit_code == 3
    assert result.stderr.startswith("sockact: ")
    assert result.stderr.count("\n") == 1
    assert str(folder) in result.stderr


def test_no_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOCKACT_RUNTIME_DIR", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = invoke("reload", "app")
    assert result.exit_code == 1
    assert "set SOCKACT_RUNTIME_DIR" in result.stderr


def test_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"sockact {sockact.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [(), ("run",), ("reload",), ("status",), ("stop",), ("init",), ("check",)]
)
def test_help(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: sockact {' '.join(arguments)}".rstrip())


@pytest.mark.usefixtures("env")
def test_run_hands_its_settings_over() -> None:
    options = "--name app --listen :80 --listen /run/a --adopt shim --ready http://h:80/x".split()
    times = ["--start-timeout", "1min 30s", "--drain-timeout", "0", "--kill-timeout", "500ms"]
    command = ["prog", "--name", "x", "--", "y"]
    assert settings_of(*options, *times, "--", *command) == Settings(
        name="app",
        command=tuple(command),
        directory=os.getcwd(),
        listen=(":80", "/run/a"),
        adopt=Adopt.SHIM,
        ready="http://h:80/x",
        start_timeout=90.0,
        drain_timeout=0.0,
        kill_timeout=0.5,
    )


@pytest.mark.usefixtures("env")
def test_the_defaults_are_those_of_the_settings() -> None:
    assert settings_of("prog") == Settings("prog", ("prog",), os.getcwd())


@pytest.mark.usefixtures("env")
def test_a_release_link_stays_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "one" / "app").mkdir(parents=True)
    current = folder / "current"
    current.symlink_to("one")
    monkeypatch.chdir(current)
    monkeypatch.setenv("PWD", str(current))
    assert settings_of("prog").directory == str(current)
    assert settings_of("--directory", "app", "prog").directory == str(current / "app")
    assert settings_of("--directory", str(current), "prog").directory == str(current)
    monkeypatch.setenv("PWD", "/")
    assert settings_of("prog").directory == str(folder / "one")
    monkeypatch.setenv("PWD", "/nonexistent")
    assert settings_of("prog").directory == str(folder / "one")


@pytest.mark.usefixtures("env")
def test_options_behind_the_program_are_the_programs() -> None:
    assert settings_of("prog", "--name", "x", "-h").command == ("prog", "--name", "x", "-h")
    assert settings_of("--", "prog", "--help").command == ("prog", "--help")


@pytest.mark.usefixtures("env")
def test_arguments_that_are_not_utf8_survive() -> None:
    assert settings_of("prog", "\udcff\n").command == ("prog", "\udcff\n")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("gunicorn app:app", "gunicorn"),
        ("/usr/bin/gunicorn app:app", "gunicorn"),
        ("python app.py", "python"),
        ("python3.12 -m http.server 80", "http.server"),
        ("/usr/bin/python3 -u -m uvicorn app:app", "uvicorn"),
        ("python -um uvicorn", "uvicorn"),
        ("python -muvicorn", "uvicorn"),
        ("python -W ignore -X dev -m uvicorn", "uvicorn"),
        ("python -Wm -m uvicorn", "uvicorn"),
        ("python --check-hash-based-pycs always -m uvicorn", "uvicorn"),
        ("python -c pass -m uvicorn", "python"),
        ("python app.py -m uvicorn", "python"),
        ("python - -m uvicorn", "python"),
        ("python -m", "python"),
        ("pypy3 -m uvicorn", "uvicorn"),
        ("node -m uvicorn", "node"),
    ],
)
@pytest.mark.usefixtures("env")
def test_the_default_name(command: str, name: str) -> None:
    assert settings_of(*command.split()).name == name


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "run --help", "reload --help", "status --help"]
)
def test_no_room_for_the_output(arguments: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sockact", *arguments.split()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "sockact: cannot write the output: No space left on device\n"


def test_no_room_for_the_complaint() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sockact", "nonsense"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=full,
            check=False,
        )
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("90s", 90),
        ("1min 30s", 90),
        ("1min30s", 90),
        (" 2 h ", 7200),
        ("1d 1us", 86400.000001),
        ("1w", 604800),
        ("7µs", 7e-6),
        ("0", 0),
        ("1 2", 3),
    ],
)
def test_time_spans(text: str, expected: float) -> None:
    assert numbers.seconds(text) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "-1", "1 fortnight", "1s!", "1e3", "nan", "1,5", "\u0661\u0662", "1.\u0665s"],
)
def test_no_time_spans(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time span"):
        numbers.seconds(text)


def test_the_terminal_is_safe() -> None:
    assert output.printable("a\tb \x1b[31mü\x07\r") == "a\tb \\x1b[31mü\\x07\\r"


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_a_command_loads_only_what_it_needs() -> None:
    modules = loaded("import sockact.cli.main as m; m.cli.get_command(None, 'run')")
    unwanted = {"psutil", "asyncio", "urllib.parse", "sockact.cli.running.status", "socket"}
    assert not modules & unwanted
    modules = loaded("import sockact.cli.main as m; m.cli.get_command(None, 'reload')")
    assert not modules & {
        "psutil",
        "asyncio",
        "sockact.cli.starting.run",
        "sockact.supervisor.control.server",
    }


def test_the_control_modules_stay_small() -> None:
    modules = loaded("import sockact.supervisor.control.server, sockact.supervisor.control.client")
    assert not modules & {"click", "psutil", "asyncio", "logging", "argparse", "subprocess"}
