"""What waits in a lane that no generation has any more is passed on, or reset and told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

# In a network of its own: tcp_migrate_req holds for all services of one.
ABANDON = """
import os, socket, sys
sys.path.insert(0, {root!r})
from sockact.core.lifecycle.model import Generation, Policy, Service, State
from sockact.handover.lane_opening import open_beside
from sockact.kernel.sockets.listener import of_socket
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.lending import Lending

open("/proc/sys/net/ipv4/tcp_migrate_req", "w").write({migrate!r})
first = socket.create_server(("127.0.0.1", 8000))
def say(_number, text): print("told:", text)
def count(found): print("counted:", found.count, found.moved)
lanes = open_beside([of_socket("web", first, owned=True)], 4)
state = [Service(Policy())]
lending = Lending(Loop(), lanes, lambda: state[0], say, count)

def serve(*states):
    found = (Generation(number, one, 0.0) for number, one in enumerate(states, 1))
    state[0] = Service(Policy(), generations=tuple(found))
    lending.follow()

RUNS, WAITS, DRAINS = State.RUNNING, State.PENDING, State.DRAINING
serve(WAITS)
lending.lend(1, None)
serve(RUNS, WAITS)
(second,) = lending.lend(2, None)
serve(DRAINS, RUNS)
assert lanes.steered == 1

def connect():
    found = socket.create_connection(first.getsockname(), timeout=5)
    found.sendall(b"hello")
    return found

serve(RUNS, DRAINS)
waiting = [connect() for _ in range(20)]
serve(DRAINS, RUNS)
assert lanes.waiting(0) == 20
lending.forget(1)  # It has died.
second.socket.settimeout(5)
served = 0
while lanes.waiting(1):
    with second.socket.accept()[0] as one:
        served += one.recv(9) == b"hello"
        one.sendall(b"x")
print("served:", served)
reset = 0
for one in waiting:
    try:
        reset += one.recv(1) != b"x"
    except ConnectionResetError:
        reset += 1
print("reset:", reset)
print("elsewhere:", sum(lanes.waiting(lane) for lane in range(4)))
# The numbers of the group are still known.
for lane, states in ((1, (DRAINS, RUNS)), (0, (RUNS, DRAINS)), (1, (DRAINS, RUNS))):
    if lane == 0:
        lending.lend(1, 0)
    serve(*states)
    with connect():
        assert lanes.waiting(lane) == 1, lane
        lanes[lane][0].socket.accept()[0].close()
"""


def run(migrate: str, program: str = ABANDON) -> list[str]:
    code = program.format(root=str(ROOT), migrate=migrate)
    words = ["unshare", "--user", "--map-root-user", "--net", "sh", "-ec"]
    script = f'ip link set lo up; exec {sys.executable} -c "$0"'
    done = subprocess.run([*words, script, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_kernel_passes_them_on() -> None:
    assert run("1") == [
        "told: 20 connections that it had not accepted were passed on to another generation",
        "counted: 20 True",
        *("served: 20", "reset: 0", "elsewhere: 0"),
    ]


def test_without_the_kernels_help_they_are_reset() -> None:
    told = "told: 20 connections that it had not accepted were reset; "
    hint = "with net.ipv4.tcp_migrate_req=1, the kernel passes them on"
    assert run("0") == [told + hint, "counted: 20 False", "served: 0", "reset: 20", "elsewhere: 0"]


def test_one_is_told_of_alone() -> None:
    """The message has the right number."""
    told, *_ = run("0", ABANDON.replace("range(20)", "range(1)").replace("== 20", "== 1"))
    assert told.startswith("told: 1 connection that it had not accepted was reset;")


DIED = "lending.forget(1)  # It has died.\n"
STUCK = """
from sockact.supervisor.gates import lane_gates
lane_gates._STUCK = 0.0
gates = lane_gates.LaneGates(lending, lambda *_moved: None)
gates.take_over(1)
print("looks:", *(gates.has_waiting(1) for _ in range(3)))
"""


def test_what_a_stuck_generation_does_not_accept_is_passed_on() -> None:
    """It lives, and may wake up: nothing was done to it."""
    awake = "lanes[0][0].socket.setblocking(False)\nassert first.getsockname()\n"
    assert run("1", ABANDON.replace(DIED, STUCK + awake)) == [
        "told: 20 connections that it had not accepted were passed on to another generation",
        "counted: 20 True",
        "looks: True True False",
        *("served: 20", "reset: 0", "elsewhere: 0"),
    ]


def test_without_the_kernels_help_they_wait_as_long_as_it_lives() -> None:
    told = "told: 20 connections that it had not accepted were reset; "
    hint = "with net.ipv4.tcp_migrate_req=1, the kernel passes them on"
    assert run("0", ABANDON.replace(DIED, STUCK + DIED)) == [
        "looks: True True True",
        *(told + hint, "counted: 20 False", "served: 0", "reset: 20", "elsewhere: 0"),
    ]


# Two more generations have lanes: one that is not proven, and one that has its stop signal.
OTHERS = "lending.lend(3, 2), lending.lend(4, 3)\n"


@pytest.mark.parametrize("ends", [DIED, STUCK])
def test_they_are_passed_on_to_the_generation_that_serves(ends: str) -> None:
    found = run("1", ABANDON.replace(DIED, OTHERS + ends))
    assert found[-3:] == ["served: 20", "reset: 0", "elsewhere: 0"]


# All generations have died, and the next one gets the lane that clients are steered to.
NOBODY = ABANDON.replace(
    "lending.forget(1)", "lending.forget(2); lending.forget(1); lending.lend(2, 1)"
)


def test_they_wait_for_the_next_generation() -> None:
    assert run("1", NOBODY)[2:] == ["served: 20", "reset: 0", "elsewhere: 0"]
