"""The syntax of unit files: systemd.syntax(7), and the command lines of systemd.service(5).

Raises OperatorError for a text that a unit file cannot contain, and for a line that systemd would
refuse.
"""

from __future__ import annotations

import re

from sockact.core import numbers
from sockact.core.errors import OperatorError
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Settings = dict[str, list[str]]
"""One section: the values of each setting, in the order of the lines."""

_PLAIN = re.compile(r"[\w@%+=:,./$-]+")
_SPELLED = {"\n": r"\n", "\t": r"\t", "\r": r"\r", '"': r"\"", "\\": r"\\"}
_MEANT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "s": " ", "t": "\t", "v": "\v"}
_MEANT |= {sign: sign for sign in "\\\"'"}
_CODES = {"x": (2, 16), "u": (4, 16), "U": (8, 16), **dict.fromkeys("01234567", (3, 8))}
_BLANKS = " \t\n\r"
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WHOLE_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PREFIXES = "@-:+!|"
_SURROGATES = range(0xD800, 0xE000)
# How much of a line is shown.
_SHOWN = 200


@dataclass(frozen=True)
class Setting:
    """One line of a unit file to write, with the comment above it."""

    key: str
    value: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


def escape_word(word: str) -> str:
    """A word as ExecStart= needs it, so that the program gets it unchanged."""
    _check_encoding(word)
    text = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(map(_spell, text)) + '"'


def _spell(sign: str) -> str:
    if sign in _SPELLED:
        return _SPELLED[sign]
    return sign if sign >= " " and sign != "\x7f" else f"\\x{ord(sign):02x}"


def command_line(words: tuple[str, ...]) -> str:
    """The words as a value of ExecStart=."""
    return " ".join(map(escape_word, words))


def escape_value(text: str) -> str:
    """A path or an address as the whole value of a setting, where spaces need no quotes."""
    _check_encoding(text)
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise OperatorError(
            f"{text[:_SHOWN]!r} cannot be written in a unit file (it has control characters, or "
            f"begins or ends with a blank, or ends with a backslash); choose another name"
        )
    return text.replace("%", "%%")


def _check_encoding(text: str) -> None:
    """systemd drops lines that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OperatorError(
            f"{text[:_SHOWN]!r} cannot be written in a unit file, because it is not UTF-8; choose "
            f"another name"
        ) from None


def split(line: str, *, relaxed: bool = False) -> list[str]:
    """The words of a line, with quotes and escapes resolved. `relaxed`, as systemd reads the value
    of a variable: the end of the text ends a quote, too.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    position = 0
    while position < len(line):
        sign = line[position]
        position += 1
        if sign == "\\":
            meant, position = _unescape(line, position)
            word = (word or "") + meant
        elif quote:
            word = (word or "") if sign == quote else (word or "") + sign
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote, word = sign, word or ""
        elif sign in _BLANKS:
            words += [word] if word is not None else []
            word = None
        else:
            word = (word or "") + sign
    if quote and not relaxed:
        raise OperatorError(
            f"unterminated quote in: {line[:_SHOWN]}; write the missing {quote}, or \\{quote} for "
            f"a plain one, then run `systemctl daemon-reload`"
        )
    return words + ([word] if word is not None else [])


def raw_words(line: str) -> list[str]:
    """The words of a line as written, with their quotes and escapes."""
    found = re.findall(r"""(?:\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^ \t\n\r])+""", line)
    return [str(word) for word in found]


def prefixes(line: str) -> str:
    """The prefixes of an ExecStart= line: @ - : + ! | (systemd.service(5))."""
    return line[: len(line) - len(line.lstrip(_PREFIXES))]


def _unescape(line: str, position: int) -> tuple[str, int]:
    """The meaning of the escape whose backslash is before `position`, and where it ends."""
    sign = line[position : position + 1]
    if sign in _CODES:
        length, base = _CODES[sign]
        start = position + (base == 16)
        try:
            code = int(line[start : start + length], base)
            # A path or an argument can have neither.
            if code and code not in _SURROGATES:
                return chr(code), start + length
        except (ValueError, OverflowError):
            pass
        return "\\", position
    if sign in _MEANT or sign == ";":
        return _MEANT.get(sign, sign), position + 1
    return "\\", position


def expand(words: list[str], unit: str, variables: Mapping[str, str]) -> list[str]:
    """The words as the program gets them, with specifiers of the unit's name and $VARIABLES
    expanded. Specifiers that depend on the machine or the user stay as they are.
    """
    found: list[str] = []
    for word in (specifiers(word, unit) for word in words):
        if whole := _WHOLE_VARIABLE.fullmatch(word):
            found += split(variables.get(whole[1], ""), relaxed=True)
        else:
            found.append(
                _VARIABLE.sub(lambda m: variables.get(m[1], "") if m[1] else "$", word),
            )
    return found


def specifiers(text: str, unit: str, percent: str = "%") -> str:
    """The text with those specifiers expanded that are about the unit's name; `percent` is what
    becomes of %%.
    """
    name = unit.rpartition(".")[0]
    prefix, _, instance = name.partition("@")
    meant = {"%": percent, "n": unit, "N": name, "p": prefix, "i": instance}
    return re.sub("%([%nNpi])", lambda m: meant[m[1]], text)


def settled(line: str) -> list[str]:
    """The words of a line that systemd ignores, as an empty one, if it cannot be split."""
    try:
        return split(line)
    except OperatorError:
        return []


def program(words: list[str]) -> list[str]:
    """The words of a command line without its prefixes, and without the argv[0] that @ sets."""
    if not words:
        return []
    first = words[0].lstrip(_PREFIXES)
    own_name = "@" in words[0][: len(words[0]) - len(first)]
    return [first, *words[2 if own_name else 1 :]]


def parse(text: str) -> dict[str, Settings]:
    """Section → settings of unit files, concatenated as `systemctl cat` prints them.

    An empty value clears the values before it, as it does in systemd for lists.
    """
    sections: dict[str, Settings] = {}
    section: Settings = {}
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        if equals and value.strip():
            section.setdefault(key.strip(), []).append(value.strip())
        elif equals:
            section[key.strip()] = []
    return sections


def assignments(text: str) -> Iterator[tuple[str, str, str]]:
    """Section, key and value of each line of unit files, also of empty ones, in their order."""
    section = ""
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if equals:
            yield section, key.strip(), value.strip()


def parts(text: str, paths: Collection[str]) -> dict[str, str]:
    """Path → text of the files in the output of `systemctl cat`; `paths` are the unit's files."""
    found: dict[str, str] = {}
    path = ""
    for line in text.split("\n"):
        if line.startswith("# /") and line[2:] in paths and line[2:] not in found:
            path = line[2:]
            found[path] = ""
        elif path:
            found[path] += f"{line}\n"
    return found


def _lines(text: str) -> Iterator[str]:
    """The lines without comments and empty ones; a backslash at the end joins two lines."""
    joined = ""
    for line in text.split("\n"):
        if line.lstrip().startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield whole
        joined = ""


def environment(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile=."""
    found: dict[str, str] = {}
    for line in _lines(text):
        key, equals, value = line.partition("=")
        if equals:
            try:
                found[key.strip()] = " ".join(split(value)) if value[:1] in "\"'" else value.strip()
            except OperatorError:
                continue  # systemd ignores such a line, too.
    return found


def properties(text: str) -> dict[str, str]:
    """The output of `systemctl show` for one unit; a repeated name gets several lines."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def readable_span(seconds: float) -> str:
    """A time span as in messages: 90 s, 2 min or 1500 ms."""
    return re.sub(r"(?<=\d)(?=[a-z])", " ", numbers.span(seconds))
