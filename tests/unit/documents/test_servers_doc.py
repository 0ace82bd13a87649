"""docs/servers/README.md has a row for every server of the zoo, with the same facts."""

from __future__ import annotations

import re
from pathlib import Path

import sockact
from tests import ROOT
from tests.servers import zoo
from tests.support import markdown

PAGE = ROOT / "docs" / "servers" / "README.md"
ADAPTERS = Path(sockact.__file__).parent / "shim" / "sockact_shim" / "adapters"
WORDS = {zoo.CLOSES, zoo.CANNOT, zoo.NONE}


def rows() -> list[list[str]]:
    """The cells of the table, the server's name without the link to its page."""
    found = markdown.table(PAGE.read_text(), "server")
    return [[re.sub(r"^\[(.*)\]\(.*\)$", r"\1", name), *cells] for name, *cells in found]


def test_the_page_and_the_zoo_say_the_same() -> None:
    wanted = [
        [
            one.name,
            one.gate.value,
            one.keep_alive if one.keep_alive in WORDS else f"`{one.keep_alive}`",
        ]
        for one in zoo.SERVERS
    ]
    # An older Python still has http.server's CGI handler, a newer one has not.
    found = [row[:3] for row in rows() if zoo.HAS_CGI or row[0] != "http.server cgi"]
    assert found == wanted


def test_every_adapter_that_is_named_exists() -> None:
    named = {one.keep_alive for one in zoo.SERVERS} - WORDS
    assert named <= {path.stem for path in ADAPTERS.rglob("*.py")}


def test_what_cannot_be_helped_is_said() -> None:
    for name, _, kept, remains in rows():
        assert remains or kept != zoo.CANNOT, f"{name}: what its clients notice"
