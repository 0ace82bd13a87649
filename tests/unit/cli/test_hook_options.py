"""The options for hooks and versions, on the command line and in a file; and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from sockact.cli.configuration import loader
from sockact.cli.setup import config
from sockact.cli.starting import run
from sockact.cli.unit_files import passing
from sockact.core.settings import Settings
from sockact.supervisor.base.policy import policy_of

if TYPE_CHECKING:
    from pathlib import Path


def settings(*words: str) -> Settings:
    context = run.command.make_context("run", [*words])
    found = run.command.invoke(context)
    assert isinstance(found, Settings)
    return found


def given(*words: str) -> Settings:
    return settings(*words, "--", "program")


def written(folder: Path, **said: object) -> Path:
    path = folder / "app.json"
    path.write_text(json.dumps({"command": ["a"], **said}, indent=1))
    return path


def test_on_the_command_line() -> None:
    found = given("--on", "running=sh -c 'a b'", "--on", "drained=/bin/true", "--hook-timeout", "2")
    assert found.on == (("running", "sh", "-c", "a b"), ("drained", "/bin/true"))
    assert Settings.from_json(found.to_json()) == found
    policy = policy_of(found, lambda _probe: False)
    assert policy.hooks == ("running", "drained")
    assert policy.hook_bound >= 4.0


def test_a_drain_waits_for_the_hooks_of_a_canary_before_it() -> None:
    """One that runs, and the last one that waits."""
    words = ("--on", "canary=/bin/true", "--on", "draining=/bin/true", "--hook-timeout")
    bounds = [policy_of(given(*words, time), lambda _probe: False).hook_bound for time in "12"]
    assert bounds[1] - bounds[0] == 3.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "",
            "use EVENT=COMMAND, where EVENT is one of pending, running, draining, drained",
        ),
        ("running", "is not a hook"),
        ("=true", "is not a hook"),
        ("Running=true", "is not a hook"),
        ("started=true", "is not a hook"),
        ("running=", "has no command"),
        ("running='' x", "has no command"),
        ("running='", "cannot split the command"),
        ("running=./hook", "'./hook' is not an absolute path"),
        ("running=true \0", "contains a NUL character"),
        (
            "running=no-such-program x",
            "--on running: 'no-such-program' is not an executable program",
        ),
        ("failed=/etc/passwd", "'/etc/passwd' is not an executable program"),
        ("failed=/etc", "'/etc' is not an executable program"),
    ],
)
def test_invalid_hooks(value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError) as error:
        given("--on", "pending=true", "--on", value)
    assert message in error.value.format_message()


def test_not_without_end() -> None:
    with pytest.raises(click.BadParameter, match="too many hooks: 33"):
        given(*["--on", "failed=true"] * 33)


@pytest.mark.parametrize("value", ["", "tag", "file:", "exec: ", "git:", "auto:x", "file:\0"])
def test_invalid_version_options(value: str) -> None:
    with pytest.raises(click.BadParameter):
        given("--release-version", value)


def test_in_a_file(tmp_path: Path) -> None:
    on = {"running": "sh -c 'a b'", "draining": ["echo", "a b"], "failed": [["true"], ["echo", ""]]}
    path = written(tmp_path, on=on, **{"hook-timeout": 3, "release-version": "git"})
    found = config.read(str(path))
    assert found.on == (
        ("running", "sh", "-c", "a b"),
        ("draining", "echo", "a b"),
        ("failed", "true"),
        ("failed", "echo", ""),
    )
    assert (found.hook_timeout, found.release_version) == (3.0, "git")


def test_in_the_other_formats(tmp_path: Path) -> None:
    """To YAML, `on` is a truth value."""
    expected = (("running", "echo", "a b"), ("failed", "true"))
    yaml, toml = tmp_path / "app.yaml", tmp_path / "app.toml"
    yaml.write_text("command: [a]\non:\n  running: [echo, a b]\n  failed: 'true'\n")
    toml.write_text("command = ['a']\non.running = ['echo', 'a b']\non.failed = 'true'\n")
    assert config.read(str(yaml)).on == config.read(str(toml)).on == expected
    yaml.write_text("command: [a]\non:\n  running: ''\n")
    with pytest.raises(loader.Invalid, match="yaml:3: on: "):
        config.read(str(yaml))


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (1, "must be a table of events and their commands, not 1"),
        ([], "must be a table of events and their commands, not a list"),
        ({}, "must be a table of events and their commands, not a table"),
        ({"running": 1}, "on, 'running': must be a command such as"),
        ({"running": []}, "on, 'running': must be a command such as"),
        ({"running": [["true"], "true"]}, "on, 'running', entry 1: must be a string, not a list"),
        ({"running": [[1]]}, "on, 'running', entry 1: must be a string, not 1"),
        ({"running": [[]]}, "has no command"),
        ({"running": "\0"}, "contains a NUL character"),
        ({"running": "./x"}, "is not an absolute path"),
        ({"runing": "true"}, "'runing=true' is not a hook"),
        ({"a=b": "true"}, "is not a hook"),
        (
            {"running": "no-such-program"},
            "on running: 'no-such-program' is not an executable program",
        ),
        ({"running": [["true"]] * 33}, "too many hooks: 33"),
    ],
)
def test_invalid_hooks_in_a_file(tmp_path: Path, on: object, message: str) -> None:
    path = written(tmp_path, on=on)
    with pytest.raises(loader.Invalid) as error:
        config.read(str(path))
    assert message in error.value.message
    assert error.value.exit_code == 2


def test_the_line_of_a_wrong_event(tmp_path: Path) -> None:
    path = written(tmp_path, on={"running": "true", "stopped": "true"})
    with pytest.raises(loader.Invalid) as error:
        config.read(str(path))
    assert error.value.message.startswith(f"{path}:7: ")


def test_a_unit_gets_all_of_them() -> None:
    command = passing.Verbatim("x", params=passing.OPTIONS, callback=lambda **_: passing.given())
    words = ["--on", "running=echo 'a b'", "--on", "failed=true", "--log-format", "json"]
    assert command.main(words, standalone_mode=False) == words
