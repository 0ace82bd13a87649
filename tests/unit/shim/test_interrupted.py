"""A signal does not interrupt the calls that wait for the supervisor."""

from __future__ import annotations

import pytest

from tests.unit.shim.interrupted import check

LOOKS = """
from sockact_shim import looks
looks.install("", "1 unix:2f78")
import socket
own = socket.socket()
path = tempfile.mktemp()
open(path, "w").close()
"""
SPARED = """
import socket
from sockact_shim import shutdown
shutdown.spare([0])
one, other = socket.socketpair()
"""
BOUND = "own.getsockname()[1]"
GONE = "not os.path.lexists(path) and shutil.rmtree.avoids_symlink_attacks"


@pytest.mark.parametrize(
    ("call", "statement", "fact"),
    [
        ("BIND", 'own.bind(("127.0.0.1", 0))', BOUND),
        ("LISTEN", "own.listen(1)", BOUND),
        ("UNLINK", "os.unlink(path)", GONE),
        ("UNLINK", "os.remove(path)", GONE),
        ("UNLINK", "pathlib.Path(path).unlink()", GONE),
        ("SYMLINK", "os.symlink('x', path + '.l'); os.unlink(path + '.l'); os.unlink(path)", GONE),
    ],
)
def test_a_call_is_made_again(call: str, statement: str, fact: str) -> None:
    check(call, LOOKS, statement, fact)


def test_a_shutdown_is_made_again_while_listeners_are_spared() -> None:
    check("SHUTDOWN", SPARED, "one.shutdown(socket.SHUT_RDWR)", 'other.recv(1) == b""')
