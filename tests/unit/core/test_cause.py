"""The cause of a failure, found in what programs write before they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.history.cause import LONGEST, cause, with_cause

TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/app.py", line 1, in <module>
    import nonexistent
"""

GUNICORN = f"""\
[2026-01-01 12:00:00 +0000] [12] [INFO] Booting worker with pid: 12
[2026-01-01 12:00:00 +0000] [12] [ERROR] Exception in worker process
{TRACEBACK}ModuleNotFoundError: No module named 'nonexistent'
[2026-01-01 12:00:00 +0000] [12] [INFO] Worker exiting (pid: 12)
[2026-01-01 12:00:00 +0000] [11] [ERROR] Worker (pid:12) exited with code 3.
{TRACEBACK.replace("import nonexistent", "raise HaltServer(reason, 3)")}\
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
[2026-01-01 12:00:00 +0000] [11] [ERROR] Shutting down: Master
[2026-01-01 12:00:00 +0000] [11] [ERROR] Reason: Worker failed to boot.
"""

SYNTAX = """\
  File "/srv/app.py", line 3
    def broken(:
               ^
SyntaxError: invalid syntax
"""

PYDANTIC = f"""\
{TRACEBACK}pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
database_url
  Field required [type=missing, input_value={{}}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.9/v/missing
"""

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/srv/app.py", line 1, in <module>
  | ExceptionGroup: many (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app.py", line 2, in inner
    | ValueError: the inner one
    +------------------------------------
"""

CHAINED = f"""\
{TRACEBACK}KeyError: 'a'

The above exception was the direct cause of the following exception:

{TRACEBACK}app.BadConfiguration: a is missing
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GUNICORN, "ModuleNotFoundError: No module named 'nonexistent'"),
        (SYNTAX, "SyntaxError: invalid syntax"),
        (GROUP, "ValueError: the inner one"),
        (CHAINED, "app.BadConfiguration: a is missing"),
        (f"{TRACEBACK}AssertionError", "AssertionError"),
        (
            f"ERROR:    {TRACEBACK}ConnectionError: no redis\n\nERROR:    Exiting.",
            "ConnectionError",
        ),
        ("\n".join(f"web | {x}" for x in f"{TRACEBACK}a.Odd: x".splitlines()), "a.Odd: x"),
        (
            "\n".join(f"\t{x}" for x in f"{TRACEBACK}builtins.Odd: x".splitlines()),
            "builtins.Odd: x",
        ),
        (f"{TRACEBACK}SystemExit: 3", "SystemExit: 3"),
        ("\x1b[31mValueError\x1b[0m: no \x1b[1mport\x1b[0m", "ValueError: no port"),
        (
            "[ERROR] sqlalchemy.exc.OperationalError: refused",
            "sqlalchemy.exc.OperationalError: ref",
        ),
        ("Caused by: java.net.BindException: in use\n\tat x.Y(Z.java:1)", "java.net.BindException"),
        (
            "app.rb:3:in 'call': undefined method 'x' (NoMethodError)",
            "app.rb:3:in 'call': undefined",
        ),
        (
            rf'{{"exc": "{TRACEBACK.splitlines()[0]}\n  File \"a.py\"\nKeyError: 1", "level": 3}}',
            "KeyError: 1",
        ),
        ("ERROR:    no redis\nERROR:    Application startup failed. Exiting.", "ERROR: no redis"),
        ("nginx: [emerg] bind() failed\nstopping", "nginx: [emerg] bind() failed"),
        ("[INFO] Booting\nno database\n[ERROR] Worker (pid:12) exited with code 1.", "no database"),
    ],
)
def test_it_is_found(text: str, expected: str) -> None:
    assert cause(text.splitlines(), ended=False).startswith(expected)


def test_a_message_of_several_lines() -> None:
    found = cause(PYDANTIC.splitlines(), ended=True)
    assert "ValidationError: 1 validation error for Settings database_url Field required" in found


REDIS_7 = """
*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 2
>>> 'databasess 3'
Bad directive or wrong number of arguments
"""
REDIS_8 = """\
7:M 30 Nov 2026 23:21:38.839 * Running mode=standalone, port=7001.
7:M 30 Nov 2026 23:21:38.839 # Unresolved Configuration(s) Detected:
7:M 30 Nov 2026 23:21:38.840 # >>> 'databasess 3'
7:M 30 Nov 2026 23:21:38.840 # No ApplyConfig call: aborting
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            REDIS_7,
            (
                "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) *** Reading the configuration file, "
                "at line 2 >>> 'databasess 3' Bad directive or wrong number of arguments"
            ),
        ),
        (
            REDIS_8,
            (
                "7:M 30 Nov 2026 23:21:38.839 # Unresolved Configuration(s) Detected: "
                ">>> 'databasess 3' No ApplyConfig call: aborting"
            ),
        ),
        ("[ERROR] missing:\n[ERROR] a\n[INFO] bye\nx", "[ERROR] a"),
        ("[ERROR] missing:\n  a\n[INFO] bye\nx", "[ERROR] missing: a"),
        ("missing:", "missing:"),
        ("---\n---\n---", "---"),
    ],
)
def test_a_heading_comes_with_what_is_below(text: str, expected: str) -> None:
    assert cause(text.splitlines(), ended=True) == expected


def test_the_last_line_tells_only_of_an_end() -> None:
    lines = ["[INFO] starting", "DATABASE_URL is not set", ""]
    assert cause(lines, ended=True) == "DATABASE_URL is not set"
    assert cause(lines, ended=False) == ""
    assert cause(["[INFO] starting"], ended=True) == ""
    assert cause([], ended=True) == ""


def test_a_line_of_code_is_none() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "a.py", line 1',
        "    ValueError: x",
        "Odd",
    ]
    assert cause(lines, ended=False) == "Odd"


def test_the_reason_stays_one_line() -> None:
    found = with_cause("the program exited", ["ValueError: a\x00b " + "x" * 9999], ended=True)
    assert found.startswith("the program exited: ValueError: a?b x")
    assert len(found) < LONGEST + 30
    assert with_cause("not ready: hint", ["ValueError: x"], ended=False) == (
        "not ready: hint (ValueError: x)"
    )
    assert with_cause("failed: ValueError: x", ["ValueError: x"], ended=True) == (
        "failed: ValueError: x"
    )


PIECES = st.sampled_from(
    [*GUNICORN.splitlines(), *GROUP.splitlines(), "\x1b[", "(Error)", ":", "Error:", '{"a": "', ""]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=40)), max_size=30), st.booleans())
def test_no_output_breaks_it(lines: list[str], ended: bool) -> None:
    found = cause(lines, ended=ended)
    assert len(found) <= LONGEST
    assert found.isprintable()
