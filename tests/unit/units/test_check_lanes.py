"""`sockact check`: equal lines of a .socket unit, and what a service with lanes needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sockact.cli.setup.check import examine
from sockact.kernel.sockets import reuseport
from sockact.units.check.finding import ADVICE, ERROR, WARNING
from tests.unit.units.test_check import START, facts, socket

if TYPE_CHECKING:
    from sockact.units.check.finding import Finding
    from sockact.units.facts import Facts

LINE = "127.0.0.1:80 (Stream)"
PROGRAM = "gunicorn --bind 127.0.0.1:80 a:a"


@pytest.fixture(autouse=True)
def migrates(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool | None]:
    """Whether the kernel moves connections, under "value"."""
    found: dict[str, bool | None] = {"value": True}
    monkeypatch.setattr(reuseport, "migrates", lambda: found["value"])
    return found


def lanes(count: int, options: str = "--lanes require", **more: str) -> Facts:
    """A service whose .socket unit has so many equal lines."""
    user = more.pop("User", "web")
    sockets = {"Listen": "\n".join([LINE] * count), "ReusePort": "yes", **more}
    start = START.replace("run ", f"run {options} ")
    return replace(facts(start=start, User=user), sockets=socket(**sockets).sockets)


def found(given: Facts) -> list[Finding]:
    """The findings; the program's address is asked for once."""
    return examine(given)


@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize("options", ["--lanes auto", "--lanes require", "--lanes auto --canary 5%"])
def test_lanes_of_systemd_are_no_fault(count: int, options: str) -> None:
    assert found(lanes(count, options.replace("5%", "'5% 1min'"))) == []


def test_one_line_is_enough_for_root_and_for_a_user_manager() -> None:
    for user in ("root", ""):
        assert found(lanes(1, User=user)) == []
    assert found(replace(lanes(1), runtime="/run/user/1000")) == []


@pytest.mark.parametrize(
    ("options", "level"),
    [("--lanes auto", WARNING), ("--lanes require", ERROR), ("--lanes auto --canary 5%", ERROR)],
)
def test_one_line_is_none_for_another_user(options: str, level: str) -> None:
    (one,) = found(lanes(1, options.replace("5%", "'5% 1min'")))
    assert (one.level, one.unit) == (level, "web.socket")
    assert one.setting == "ListenStream=127.0.0.1:80"
    assert one.write.startswith("write it 3 times (at least 2,")
    assert one.write.endswith("set ReusePort=yes")


def test_two_lines_leave_none_for_a_generation_that_drains() -> None:
    (one,) = found(lanes(2))
    assert (one.level, one.write) == (ADVICE, "write it 3 times")
    assert found(lanes(2, User="root")) == [one]


def test_lines_that_systemd_cannot_open() -> None:
    (one,) = found(lanes(3, ReusePort="no"))
    assert (one.level, one.unit) == (ERROR, "web.socket")
    assert one.message == "systemd cannot open the second of 3 equal lines"
    assert one.write.startswith("set ReusePort=yes")


def test_lines_that_nobody_uses() -> None:
    (one,) = found(lanes(3, "--lanes off"))
    assert (one.level, one.unit) == (WARNING, "web.socket")
    assert one.write.startswith("add --lanes auto to ExecStart=")


def test_fewer_lines_for_one_address() -> None:
    lines = "\n".join([LINE, LINE, LINE, "127.0.0.1:53 (Datagram)"])
    (one,) = found(lanes(3, User="root", Listen=lines))
    assert (one.level, one.setting) == (ERROR, "ListenDatagram=127.0.0.1:53")


@pytest.mark.parametrize(("options", "count"), [("--lanes auto", 0), ("--lanes require", 1)])
def test_a_unix_socket(options: str, count: int) -> None:
    start = START.replace("run ", f"run {options} ").replace(PROGRAM, "program")
    given = replace(facts(start=start), sockets=socket(Listen="/run/web.sock (Stream)").sockets)
    errors = found(given)
    assert len(errors) == count
    for one in errors:
        assert (one.level, one.setting) == (ERROR, "--lanes require")
        assert one.message.startswith("Unix sockets have no lanes (/run/web.sock)")
        assert "--listen-lanes 3" in one.write


def test_equal_lines_of_a_unix_socket() -> None:
    start = START.replace(PROGRAM, "program")
    lines = "\n".join(["/run/web.sock (Stream)"] * 2)
    given = replace(facts(start=start), sockets=socket(Listen=lines, ReusePort="yes").sockets)
    errors = [one for one in found(given) if one.level is ERROR]
    assert [one.write for one in errors] == ["keep one of them"]


def test_a_canary_without_lanes() -> None:
    (one,) = found(lanes(1, "--canary '5% 1min'"))
    assert (one.level, one.setting, one.write) == (ERROR, "--canary", "add --lanes auto")


@pytest.mark.parametrize(("value", "count"), [(False, 1), (True, 0), (None, 0)])
def test_a_kernel_that_could_pass_connections_on(
    migrates: dict[str, bool | None], value: bool | None, count: int
) -> None:
    migrates["value"] = value
    advice = found(lanes(3))
    assert len(advice) == count
    for one in advice:
        assert one.level is ADVICE
        assert "net.ipv4.tcp_migrate_req = 1" in one.write
    assert found(lanes(1, "--lanes off")) == []
    datagrams = lanes(3, Listen="\n".join(["127.0.0.1:80 (Datagram)"] * 3))
    assert not [one for one in found(datagrams) if one.level is ADVICE]
