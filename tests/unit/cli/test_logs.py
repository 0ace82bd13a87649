"""`sockact logs` without a journal: times, lines, what is asked for, and what is missing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sockact.cli.journal import last_words, matches, selection
from sockact.cli.journal.entry import LONGEST_MESSAGE, Entry, entry
from sockact.cli.journal.matches import Unit
from sockact.cli.journal.since import moment
from sockact.cli.main import cli
from tests.unit.cli.test_cli import runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

# Monday.
NOW = 1772454645.0
USEC = int(NOW * 1_000_000)


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two hours before UTC, whatever the machine's time zone is."""
    monkeypatch.setenv("TZ", "XST-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", NOW),
        ("10min", NOW - 600),
        ("10 min ago", NOW - 600),
        ("-1h 30min", NOW - 5400),
        ("100y", 0),
        ("@1772454000.5", 1772454000.5),
        ("today", 1772402400),
        ("yesterday", 1772402400 - 86400),
        ("2026-03-02", 1772402400),
        ("2026-03-02 12:30", 1772447400),
        ("2026-03-02 12:30:15", 1772447415),
        ("2026-03-02T12:30:15.5", 1772447415.5),
        ("2026-03-02T12:30:00Z", 1772454600),
        ("2026-03-02T12:30:00+02:00", 1772447400),
        ("2026-03-02 12:30 UTC", 1772454600),
        ("Mon 2026-03-02 12:30:00 XST", 1772447400),
        ("12:30", 1772447400),
        ("9:30", 1772436600),
        ("12:30:15", 1772447415),
        ("12:30 UTC", 1772454600),
    ],
)
def test_a_time(text: str, wanted: float) -> None:
    assert moment(text, NOW) == pytest.approx(wanted, abs=0.001)


@pytest.mark.parametrize(
    "text",
    ["", " ", "soon", "ago", "12:60", "2026-02-30", "0001-01-01", "@", "@x", "--5", "10 apples"],
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write it like 10min"):
        moment(text, NOW)


def line(**fields: Any) -> Entry:
    known = {"__REALTIME_TIMESTAMP": USEC, "SYSLOG_IDENTIFIER": "app-3", "_PID": b"42"}
    return entry(known | fields, "app")


def test_a_line() -> None:
    assert line(MESSAGE="ready").text() == "Mar 02 14:30:45 app-3[42]: ready"
    found = line(MESSAGE="one\n\ntwo", SYSLOG_IDENTIFIER="a", _PID="x").text()
    assert found.splitlines() == ["Mar 02 14:30:45 a: one", " " * 19, " " * 19 + "two"]
    assert line(SYSLOG_IDENTIFIER=None, _COMM="sh").text() == "Mar 02 14:30:45 sh[42]: "


def test_a_line_cannot_control_the_terminal() -> None:
    found = line(MESSAGE=b"\x1b[2J\xff\x9b\r\xe2\x80\xae", SYSLOG_IDENTIFIER="\x1b]0;x\x07").text()
    assert found.isprintable()
    assert "\\x1b[2J" in found


def test_a_long_message_is_cut() -> None:
    for message in ("x" * 100_000, b"x" * 100_000, [b"x" * 100_000, b"y"]):
        assert line(MESSAGE=message).message == "x" * LONGEST_MESSAGE + "…"


@pytest.mark.parametrize(
    ("fields", "generation"),
    [
        ({"_TRANSPORT": "stdout"}, 3),
        ({"_TRANSPORT": "journal"}, 0),
        ({"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "other-3"}, 0),
        ({"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "app-x"}, 0),
        ({"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "app"}, 0),
        ({"SOCKACT_GENERATION": "7"}, 7),
        ({"SOCKACT_GENERATION": "9" * 5000}, 0),
        ({"SOCKACT_GENERATION": "\u0663"}, 0),
    ],
)
def test_whose_line_it_is(fields: dict[str, str], generation: int) -> None:
    assert line(**fields).generation == generation


def test_json() -> None:
    fields = {"SOCKACT_HANDOVER": "ab", "SOCKACT_EVENT": "serves", "SOCKACT_GENERATION": "2"}
    assert line(MESSAGE="m\x1b", PRIORITY="5", **fields).json() == {
        "at_usec": USEC,
        "identifier": "app-3",
        "pid": 42,
        "generation": 2,
        "handover": "ab",
        "event": "serves",
        "priority": 5,
        "message": "m\x1b",
    }


def test_only_fields_of_journald_say_whose_a_line_is() -> None:
    for units in (matches.possible_units("app", 0), matches.possible_units("app", 1000)):
        for term in matches.of_units(units):
            assert any(field.startswith("_") for field in term), term
    assert Unit("app.service").lines()[0] == {"_SYSTEMD_UNIT": "app.service"}
    # Anybody may have a unit of that name in a manager of their own.
    assert all(term["_UID"] == "1000" for term in Unit("app.service", 1000).lines())


class _Journal:
    """Answers in order, whatever is asked."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.asked: list[matches.Matches] = []
        self._answers = list(answers)

    def select(self, asked: matches.Matches) -> None:
        self.asked.append(asked)

    def newest(self, *_: object) -> Iterator[dict[str, Any]]:
        return iter(self._answers.pop(0))


def source(journal: _Journal) -> selection.Source:
    return selection.Source(journal, Unit("app.service").lines(), "app")  # type: ignore[arg-type]


def said(number: int, event: str, seconds: int = 0) -> dict[str, Any]:
    return {
        "__REALTIME_TIMESTAMP": USEC + seconds * 1_000_000,
        "SOCKACT_GENERATION": str(number),
        "SOCKACT_EVENT": event,
        "_SYSTEMD_INVOCATION_ID": "run",
    }


def test_a_rollback_goes_to_the_lower_number() -> None:
    answers = [said(2, "hook"), said(1, "serves_again"), said(2, "signalled", 5)]
    found = selection.handover(source(_Journal(answers, [said(1, "")])), "ab", None)
    assert found is not None
    assert found.matches[1] == (
        {"SOCKACT_HANDOVER": "ab"},
        {"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "app-1", "_SYSTEMD_INVOCATION_ID": "run"},
    )
    assert (found.until, found.note) == (NOW + 6, "")


def test_without_an_identifier_it_is_the_time_of_the_handover() -> None:
    lines = Unit("app.service").lines()
    for requested, begun in ((None, NOW), (NOW - 3, NOW - 3)):
        found = selection.handover(
            source(_Journal([said(2, "reload_failed")], [])), "ab", requested
        )
        assert found is not None
        assert (found.matches, found.since, found.until) == ((lines,), begun, NOW + 1)
        assert "generation 2 wrote" in found.note


def test_a_generation_is_that_of_the_last_start() -> None:
    journal = _Journal([said(2, "serves")], [said(1, "")])
    found = selection.generation(source(journal), 2, to_come=False)
    assert ({"_SYSTEMD_INVOCATION_ID": "run"},) in found.matches
    assert found.note == ""
    journal = _Journal([said(2, "serves")], [said(1, "")])
    found = selection.generation(source(journal), 2, to_come=True)
    assert len(found.matches) == 2


def invoke(*arguments: str) -> Result:
    return runner().invoke(cli, ["logs", *arguments], prog_name="sockact")


@pytest.fixture
def _no_module(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setenv("SOCKACT_RUNTIME_DIR", str(folder))


@pytest.mark.usefixtures("_no_module")
def test_without_the_module() -> None:
    result = invoke("app")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "sockact: reading the journal needs systemd-python: install python3-systemd "
        "(Debian, Fedora), or pip install 'sockact[journal]'\n"
    )


@pytest.mark.usefixtures("_no_module")
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("a/b",), "is not a valid service name"),
        (("app", "--since", "soon"), "is not a time"),
        (("app", "--handover", "7"), "`sockact history` shows the IDs"),
        (("app", "--handover", "a" * 32, "-f"), "cannot be used with --follow"),
        (("app", "--generation", "0"), "x>=1"),
        (("app", "-n", "-1"), "0<=x<="),
        (("app", "--identifier", "a b"), "is not a valid identifier"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], hint: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr


@pytest.mark.usefixtures("_no_module")
def test_words_that_were_kept_are_not_looked_for(folder: Path) -> None:
    handover = {"stderr": ["a", "b"], "reason": "x", "to": 2}
    handover |= {"requested_usec": 0, "duration_seconds": 1.0}
    assert last_words.of_reload("app", handover) == ("a", "b")
    assert last_words.of_reload("app", handover | {"stderr": []}) == ()
    assert last_words.of_history("app", []) == ()
    assert last_words.of_history("app", [handover | {"id": "x", "outcome": "committed"}]) == ()


def test_the_cause_is_among_the_lines_that_are_shown() -> None:
    lines = tuple(f"line {number}" for number in range(200))
    assert last_words.excerpt(lines[:40], "") == lines[:40]
    assert last_words.excerpt(lines, "exited") == lines[-40:]
    shown = last_words.excerpt(lines, "exited: line 99")
    assert shown == (*lines[80:100], "(80 lines left out)", *lines[180:])


def test_the_help_fits_a_terminal() -> None:
    result = CliRunner().invoke(cli, ["logs", "--help"], prog_name="sockact", terminal_width=80)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "sockact logs myapp --since 10min --follow" in result.stdout
