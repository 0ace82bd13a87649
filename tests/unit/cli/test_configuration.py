"""Configuration files: valid settings, and errors with their line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import pytest

from sockact.cli.configuration import document, keys, loader
from sockact.cli.setup import config
from sockact.cli.setup.check import examine
from sockact.cli.starting import run
from sockact.core.release import pinned
from sockact.core.settings import Adopt, Settings
from tests.support import invalid
from tests.support.invalid import WHOLE
from tests.unit.units.test_check import facts


def settings(path: Path, *more: str) -> Settings:
    """What `sockact run` makes of the file. Raises click's errors."""
    context = run.command.make_context("run", ["--config", str(path), *more])
    found = run.command.invoke(context)
    assert isinstance(found, Settings)
    return found


def refusal(path: Path) -> list[str]:
    """The lines by which the file is refused."""
    with pytest.raises(loader.Invalid) as error:
        settings(path)
    assert error.value.exit_code == 2
    return [error.value.message, *error.value.quoted]


def written(folder: Path, text: str | bytes, name: str = "app.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_settings_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    assert settings(path) == Settings(
        "app",
        ("/srv/app/current/bin/serve", "--port", "80"),
        directory="/",
        listen=("127.0.0.1:8000", "web=[::1]:8000"),
        adopt=Adopt.SECCOMP,
        ready="notify",
        start_timeout=120.0,
        trial=5.0,
        probe="tcp",
        probe_interval=0.5,
        max_draining=2,
        stop_signal=2,
        environment=("DATABASE=db", "EMPTY="),
        release="/",
        config=str(path),
        config_text=WHOLE,
    )


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    said = document.parse(WHOLE.encode(), ".toml").values
    from_toml = settings(written(tmp_path, WHOLE))
    for name in ("app.json", "app.yaml", "app.yml"):  # JSON is YAML, too.
        found = settings(written(tmp_path, json.dumps(said, indent=1), name))
        assert {**vars(found), "config": "", "config_text": ""} == {
            **vars(from_toml),
            "config": "",
            "config_text": "",
        }


def test_each_option_of_run_is_a_key(tmp_path: Path) -> None:
    """Every option is a key, except for `--config`."""
    context = click.Context(run.command)
    refused = keys.check(document.Document({"config": "x", "command": ["a"]}), context)
    assert "unknown key 'config'" in refused.problems[0].text
    for option in run.command.params:
        if isinstance(option, click.Option) and option.name != "config":
            said = document.Document({keys.key_of(option): {}, "command": ["a"]})
            assert "must be" in keys.check(said, context).problems[0].text


def test_the_command_line_wins(tmp_path: Path) -> None:
    found = settings(written(tmp_path, WHOLE), "--name", "other", "--start-timeout", "7")
    assert (found.name, found.start_timeout, found.trial) == ("other", 7.0, 5.0)


def test_the_program_is_in_one_place(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"app\.toml already names the program"):
        settings(written(tmp_path, WHOLE), "--", "other")


def test_by_the_name_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKACT_CONFIG_DIR", str(tmp_path))
    assert loader.place("app") == f"{tmp_path}/app.toml"
    written(tmp_path, "command: [a]", "app.yaml")
    assert settings(Path("app")).command == ("a",)
    written(tmp_path, WHOLE)
    with pytest.raises(click.UsageError, match="exist; remove one of them"):
        loader.place("app")
    monkeypatch.delenv("SOCKACT_CONFIG_DIR")
    assert loader.place("app") == "/etc/sockact/app.toml"
    assert loader.place("./app") == os.path.abspath("app")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("start_timeout = 1", "unknown key 'start_timeout'; did you mean 'start-timeout'?"),
        ("zzzzzz = 1", "known keys: adopt, canary, canary-background, canary-by, "),
        ("adopt = 'magic'", "'auto', 'seccomp', 'seccomp-connect', 'shim', 'native'"),
        ("adopt = 1", "must be one of auto, seccomp, seccomp-connect, shim, native, not 1"),
        ("max-draining = '2'", "must be a number from 1 to 99, not '2'"),
        ("max-draining = true", "must be a number from 1 to 99, not True"),
        ("max-draining = 100", "1<=x<=99"),
        ("start-timeout = 'soon'", "use, for example, 90"),
        ("start-timeout = true", "must be a time such as 90 or '1min 30s', not True"),
        ("start-timeout = 1979-05-27", "not a date"),
        ("start-timeout = inf", "use, for example, 90"),
        ("listen = '127.0.0.1:80'", 'must be a list of strings such as ["a", "b"]'),
        ("listen = ['a', 1]", "listen, entry 2: must be a string, not 1"),
        ("warm = ['@paths']", "warm: 'paths' is not an absolute path"),
        ("warm = ['/x']", "use http://ADDRESS/PATH or @FILE"),
        ("stop-signal = 'KILL'", "SIGKILL cannot be caught"),
        ("directory = 'sub'", "use one that begins with /"),
        ("directory = '/nowhere/at/all'", "does not exist"),
        ("log = 'app.log'", "log: 'app.log' is not an absolute path; use one that begins with /"),
        ("log-stderr = './e.log'", "log-stderr: './e.log' is not an absolute path"),
        ("close-spread = '2min'", "close-spread must not be longer than drain-timeout"),
        ("reopen-signal = 'TERM'", "reopen-signal and stop-signal must be different signals"),
        ("release = 'current'", "use one that begins with /"),
        ("release = '/nowhere/at/all'", "directory '/nowhere/at/all' does not exist"),
        ("environment = []", "must be a table of variables, not a list"),
        ("environment = { A = 1 }", "environment, A: must be a string, not 1"),
        ("environment = { 'A-B' = '' }", "'A-B' is not a variable name"),
        ("environment = { LISTEN_FDS = '1' }", "LISTEN_FDS is set by sockact"),
        ('identifier = "a\\u0000b"', "contains a NUL character"),
        ("probe = 'tcp'", "probe needs a trial; add trial TIME"),
        ("probe-interval = 3", "probe-interval needs probe KIND"),
        ("name = 'a/b'", "is not a valid service name"),
        ("adopt = ", "Invalid value"),
        ("adopt = 'shim'\nadopt = 'shim'", "Cannot overwrite a value"),
        ("max-draining = 1" + "0" * 5000, "Exceeds the limit"),
        ("max-draining = 0x1" + "0" * 5000, "not a number of many digits"),
        (f"identifier = '{'a' * 60000}'", "is not a valid identifier"),
    ],
)
def test_errors_and_their_places(tmp_path: Path, line: str, message: str) -> None:
    text = f'command = ["a"]\nready = "notify"\n\n{line}\n'
    path = written(tmp_path, text)
    (found,) = refusal(path)
    # Python's TOML reader places a key that is there twice at its end.
    place = rf"(?::{4 + line.count(chr(10))})?"
    assert re.match(rf"{re.escape(str(path))}{place}: ", found), found
    assert message in found
    assert len(found) < 1000


def test_a_file_without_a_command(tmp_path: Path) -> None:
    assert "write command = [" in refusal(written(tmp_path, ""))[0]
    assert "command is empty" in refusal(written(tmp_path, "command = []"))[0]


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = 'adopt = 1\n[environment]\nA = 1\n"B" = 2\n'
    path = written(tmp_path, text)
    places = [line.partition(": ")[0] for line in refusal(path)]
    assert places == [f"{path}:{number}" for number in (1, 1, 3, 4)]


@pytest.mark.parametrize(
    "text",
    [
        'x = """\nadopt = 1\n[adopt]\n"""\nadopt = 1\n',
        "x = [\n'a',\n'adopt = 1',\n]\n'adopt' = 1\n",
        '# adopt = 1\nx = "adopt = 1"\n\n\n"\\u0061dopt" = 1\n',
    ],
)
def test_the_line_of_a_key_is_not_one_in_a_text(text: str) -> None:
    assert document.parse(text.encode(), ".toml").line("adopt") == 5


def test_the_lines_of_json() -> None:
    text = '{"x": [{"adopt": 1},\n"\\"adopt\\": 1"],\n\n"adopt":\n1, "environment": {\n"A": 1}}'
    found = document.parse(text.encode(), ".json")
    assert [found.line("adopt"), found.line("environment", "A")] == [4, 6]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"adopt": 1,\n"adopt": 2}', "2: duplicate key 'adopt', first given on line 1"),
        ("a.json", '{\n"adopt": }', "2: Expecting value"),
        ("a.json", "[]", "1: must be a table of keys and values"),
        ("a.json", "[" * 60000, ": nested too deeply"),
        ("a.toml", "a = " + "[" * 60000, "a.toml"),
        ("a.toml", "\n" + "a." * 30000 + "a = 1", "2: nested too deeply"),
        ("a.toml", "[" + '"a" . ' * 10000 + "a]", "1: nested too deeply"),
        ("a.toml", "a = {" + "a." * 30000 + "a = 1}", "1: nested too deeply"),
        ("a.yaml", "[" * 20000, ": nested too deeply"),
        ("a.yaml", "adopt: 1\nadopt: 2", "2: duplicate key 'adopt', first given on line 1"),
        ("a.yaml", "a: &a [1]\nb: *a", "2: aliases (*) are not supported"),
        (
            "a.yaml",
            "a: !!python/object/apply:os.getpid []",
            "1: the tag !!python/object/apply:os.getpid is not supported",
        ),
        ("a.yaml", "a: [\nb: }", "2: "),
        ("a.yaml", "a: 1\n--- \nb: 1", "2: but found another document"),
        ("a.yaml", "a: \x01", "1: invalid character"),
        ("a.yaml", "", "1: must be a table of keys and values"),
        (
            "a.yaml",
            "start-timeout: 2026-99-99\ncommand: [a]",
            "1: '2026-99-99' is not a valid timestamp",
        ),
        ("a.yaml", "? [a, b]\n: 1", "1: found unhashable key"),
        ("a.yaml", "1: 2\ncommand: [a]", "1: unknown key '1'"),
        ("a.conf", "", ": the file name must end in .toml, .yaml, .yml, .json"),
        ("a.toml", "a = 1\n\xff", "2: byte 7 of the file is not valid UTF-8"),
        ("a.toml", f"b = 1\na = {'9' * 5000}\nc = 1", "2: Exceeds the limit"),
        ("a.json", f'{{"b": 1,\n"a": {"9" * 5000},\n"c": 1}}', "2: Exceeds the limit"),
        ("a.yaml", f"b: 1\na: [1, {'9' * 5000}]", "2: '999"),
        ("a.yaml", "command: [a]\nlog: !!timestamp tomorrow", "2: 'tomorrow' is not a valid"),
        ("a.yaml", "command: [a]\nlog: !!bool abc", "2: 'abc' is not a valid bool"),
        ("a.yaml", 'command: [a]\nlog: !!int ""', "2: '' is not a valid int"),
        ("a.yaml", "command: [a]\nlog: !!float abc", "2: 'abc' is not a valid float"),
        ("a.yaml", "command: [a]\nlog: !!omap x", "2: the tag !!omap is not supported"),
        ("a.yaml", "command: [a]\nlog: !!map x", "2: "),
        ("a.yaml", "command: [a]\nlog: !!str [x]", "2: "),
        ("a.yaml", "command: [a]\n? !!int x\n: 1", "2: 'x' is not a valid int"),
        ("a.toml", "x" * (document.LARGEST + 1), ": larger than 64 KiB"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = written(tmp_path, text.encode("latin-1"), name)
    found = refusal(path)[0]
    assert found.startswith(f"{path}:")
    assert message in found


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.toml")[0]
    (tmp_path / "folder.toml").mkdir()
    assert "Is a directory" in refusal(tmp_path / "folder.toml")[0]
    os.mkfifo(tmp_path / "fifo.toml")
    assert "not a regular file" in refusal(tmp_path / "fifo.toml")[0]


def test_a_release_is_the_same_for_the_whole_generation() -> None:
    assert pinned("/srv/current", "/srv/current", "/srv/7") == "/srv/7"
    assert pinned("/srv/current/bin/a", "/srv/current", "/srv/7") == "/srv/7/bin/a"
    assert pinned("/srv/currently", "/srv/current", "/srv/7") == "/srv/currently"


@pytest.mark.parametrize("kind", invalid.KINDS)
def test_a_thousand_invalid_files(tmp_path: Path, kind: invalid.Kind) -> None:
    """200 of each kind: each gives a message with the place, and nothing else."""
    for number in range(200):
        extension, data = invalid.make(kind, number)
        path = written(tmp_path, data, f"app{extension}")
        found = refusal(path)
        place = rf"{re.escape(str(path))}(:[1-9][0-9]*)?: \S"
        assert all(re.match(place, line) for line in found), found
        if kind is not invalid.huge and ": too many" not in found[0]:
            assert re.match(rf"{re.escape(str(path))}:[1-9]", found[0]), (data, found)
        assert sum(map(len, found)) < 20_000


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["check"], "Missing argument"),
        (["chekc", "app"], "is not one of 'check', 'show'"),
        (["check", "app", "1"], "check takes no NUMBER"),
        (["rollback", "app"], "rollback takes one NUMBER"),
        (["diff", "app", "1", "2", "3"], "diff takes at most two numbers"),
        (["show", "app", "0"], "0 is not in the range"),
        (["show", "app", "7"], "no configuration 7 (none has served yet)"),
        (["history", "./evil.toml"], "'../../x' in "),
        (["history", "../..."], "is not a valid service name"),
    ],
)
def test_config_in_a_wrong_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], hint: str
) -> None:
    monkeypatch.setenv("SOCKACT_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("SOCKACT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "name = '../../x'\n", "evil.toml")
    with pytest.raises(click.UsageError) as error:
        config.command.main(words, standalone_mode=False)
    assert hint in error.value.format_message()


def test_sockact_check_looks_into_the_file(tmp_path: Path) -> None:
    text = 'command = ["gunicorn", "a:a"]\nname = "web"\n'
    path = written(tmp_path, text)
    unit = facts(start=f"/usr/bin/sockact run --config {path}")
    assert examine(unit) == []
    written(tmp_path, f'{text}drain-timeout = "1h"\n')
    assert "TimeoutStopSec=90s" in [finding.setting for finding in examine(unit)]
    written(tmp_path, f"{text}adopt = 1\n")
    (finding,) = examine(unit)
    assert finding.setting == "ExecStart="
    assert finding.message.startswith(f"{path}:3: adopt: ")
