"""The syntax of unit files: what is written reads back as the same words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core import numbers
from sockact.core.errors import OperatorError
from sockact.units import unitfile

# What a unit file can carry: UTF-8 without NUL.
WORDS = st.lists(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
)


@given(WORDS)
def test_words_survive(words: list[str]) -> None:
    line = unitfile.command_line(tuple(words))
    assert "\n" not in line
    assert unitfile.expand(unitfile.split(line), "web.service", {"HOME": "/root"}) == words


@given(WORDS)
def test_words_survive_a_file(words: list[str]) -> None:
    line = unitfile.command_line(("/bin/prog", *words))
    sections = unitfile.parse(f"[Service]\nExecStart={line}\n")
    assert unitfile.split(sections["Service"]["ExecStart"][0]) == unitfile.split(line)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--bind=127.0.0.1:80", "--bind=127.0.0.1:80"),
        ("", '""'),
        (";", '";"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("${A} b", '"$${A} b"'),
        ("a\\b", r'"a\\b"'),
        ("it's", '"it\'s"'),
        ('"', r'"\""'),
        ("a\nb\x01", r'"a\nb\x01"'),
    ],
)
def test_escapes(word: str, written: str) -> None:
    assert unitfile.escape_word(word) == written


def test_what_is_not_utf8_is_refused() -> None:
    for escape in (unitfile.escape_word, unitfile.escape_value):
        with pytest.raises(OperatorError, match=r"'x\\udcff' cannot be written .* choose another"):
            escape("x\udcff")


@pytest.mark.parametrize("text", [" /x", "/x ", "/a\nb", "/a\\", "/a\x07"])
def test_values_that_no_line_can_have(text: str) -> None:
    with pytest.raises(OperatorError, match="choose another"):
        unitfile.escape_value(text)


def test_a_quote_that_is_not_closed() -> None:
    with pytest.raises(OperatorError, match=r"unterminated quote in: a 'b; write the missing '"):
        unitfile.split("a 'b")
    assert unitfile.settled("a 'b") == []
    # As systemd reads the value of a variable.
    assert unitfile.expand(["$A"], "web.service", {"A": "a 'b c"}) == ["a", "b c"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r"a\x20b \s \101 \u00e4 \;", ["a b", " ", "A", "ä", ";"]),
        (r"\q \x", [r"\q", r"\x"]),
        (r"\x00 \000 \ud800", [r"\x00", r"\000", r"\ud800"]),
        ("'a b'c \"\" d", ["a bc", "", "d"]),
    ],
)
def test_escapes_of_others(line: str, words: list[str]) -> None:
    assert unitfile.split(line) == words


def test_variables_and_specifiers() -> None:
    words = ["$OPTIONS", "${ONE}", "%i", "%p/%n/%N", "%%h", "%h", "$NONE", "$$X", "a${ONE}b"]
    variables = {"OPTIONS": "--a 'b c'", "ONE": "1 2"}
    assert unitfile.expand(words, "sockact@web.service", variables) == [
        *("--a", "b c", "1 2", "web", "sockact/sockact@web.service/sockact@web"),
        *("%h", "%h", "$X", "a1 2b"),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-/bin/a b", ["/bin/a", "b"]),
        ("@/bin/a name b", ["/bin/a", "b"]),
        ("!!+:/bin/a", ["/bin/a"]),
    ],
)
def test_prefixes(line: str, words: list[str]) -> None:
    assert unitfile.program(unitfile.split(line)) == words


def test_drop_ins_add_and_take_back() -> None:
    text = """
# /etc/systemd/system/a.service
[Service]
ExecStart=/bin/a \\
  # a comment inside
  b
Environment=A=1
; a comment
# /etc/systemd/system/a.service.d/x.conf
[Service]
ExecStart=
ExecStart=/bin/c
Environment=B=2
"""
    service = unitfile.parse(text)["Service"]
    assert service == {"ExecStart": ["/bin/c"], "Environment": ["A=1", "B=2"]}


def test_environment_files() -> None:
    text = '# x\nA=1\nB="two words"\n\nC=plain words \nD=\'x\nE'
    assert unitfile.environment(text) == {"A": "1", "B": "two words", "C": "plain words"}


def test_properties_that_are_repeated() -> None:
    text = "Type=notify\nListen=[::]:80 (Stream)\nListen=/run/x (Stream)\nA=b=c\n"
    found = unitfile.properties(text)
    assert found == {"Type": "notify", "Listen": "[::]:80 (Stream)\n/run/x (Stream)", "A": "b=c"}


@pytest.mark.parametrize(
    ("number", "text"), [(90, "90s"), (120, "2min"), (0.5, "500ms"), (0, "0s")]
)
def test_spans(number: float, text: str) -> None:
    assert numbers.span(number) == text
