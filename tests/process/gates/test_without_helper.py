"""Looks where no process can be made: by a helper that there was, or by the supervisor itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.support import wait

BEGIN = """
import errno, os, resource, signal
from sockact.kernel import looks, procfs
from sockact.supervisor.processes import family
us, told = os.getpid(), []
looks.begin(lambda pid: pid, lambda group, message: told.append(message))
os.setgroups([])
os.setresuid(65534, 65534, 65534)
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
def allow(most):
    resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
def errors(look):
    try:
        look()
    except looks.Unavailable as error:
        return error.errno
"""
FROM_THE_START = """
allow(0)
assert [procfs.lives(us) for _ in range(2)] == [True, True]
assert len(told) == 1 and told[0].startswith("no helper process (Resource temporarily")
allow(hard)
assert procfs.lives(us) and len(procfs.children(us)) == 1
assert family.families() == family.families_in_table() == {}
looks.end()
assert procfs.children(us) == []
"""
KILLED = """
assert procfs.lives(us)
allow(0)
os.kill(*looks.helpers(), signal.SIGKILL)
assert [errors(lambda: procfs.lives(us)) for _ in range(2)] == [errno.EAGAIN] * 2
assert told == []
allow(hard)
assert procfs.lives(us)
"""
LOADED_LATER = """
assert procfs.lives(us)
allow(0)
before = looks.helpers()
@looks.apart
def late(pid):
    return pid
assert errors(lambda: late(us)) == errno.EAGAIN
assert procfs.lives(us) and looks.helpers() == before and told == []
allow(hard)
assert late(us) == us and looks.helpers() != before
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a user without processes")
@pytest.mark.parametrize(
    "then", [FROM_THE_START, KILLED, LOADED_LATER], ids=["from the start", "killed", "loaded later"]
)
def test_no_helper_can_be_made(then: str) -> None:
    """Looks are made without one until there was one."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{BEGIN}{then}"
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=wait.TIMEOUT)
