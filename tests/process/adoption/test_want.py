"""A bind() that the supervisor cannot look at for want of descriptors fails for that reason."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

BIND_IN_WANT = """
import resource
supervisor = os.getppid()
socket.socket().bind(("127.0.0.1", 0))  # By then the supervisor has the notifications.
limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
found = socket.socket()
error = 0
resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
try:
    found.bind(("127.0.0.1", PORT))
except OSError as failure:
    error = failure.errno
finally:
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
found.bind(("127.0.0.1", PORT))
found.listen()
VERSION = str(error).encode()
accept(found)
"""


def test_bind_without_a_descriptor_left(start: StartService, folder: Path) -> None:
    """Not EADDRINUSE, which the kernel would say. The next bind is as good as ever."""
    program = Program(folder)
    program.publish("1")
    service = start(program.command, listen=program.listen, options=("--adopt", "seccomp"))
    program.publish("2", BIND_IN_WANT)  # Once the supervisor has loaded all that it needs.
    assert service.reload().code == 0, service.stderr
    assert program.ask() == str(errno.EMFILE)
