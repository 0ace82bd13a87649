"""The rendered units: how they depend on the options, and the files of units/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sockact.core.settings import Settings
from sockact.systemd import listeners
from sockact.units import unitfile
from sockact.units.render import service_units, templates
from tests import ROOT

if TYPE_CHECKING:
    from sockact.core.matching import Address


def address(text: str) -> Address:
    return listeners.parse(text)[1]


def plan(*listen: str, **changes: Any) -> service_units.Plan:
    settings = {"start": "/usr/bin/sockact run -- /bin/x", "reload": "/usr/bin/sockact reload web"}
    addresses = tuple(map(address, listen or ("127.0.0.1:80",)))
    return service_units.Plan("web", addresses=addresses, **{**settings, **changes})


def service(*listen: str, **changes: Any) -> dict[str, list[str]]:
    return unitfile.parse(service_units.service(plan(*listen, **changes)))["Service"]


def socket(*listen: str, **changes: Any) -> dict[str, list[str]]:
    return unitfile.parse(service_units.socket(plan(*listen, **changes)))["Socket"]


def test_the_folder_is_what_the_code_writes() -> None:
    folder = ROOT / "units"
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == templates.files(), "write them anew with `make units`"


def test_no_line_is_too_long() -> None:
    lines = [line for text in templates.files().values() for line in text.splitlines()]
    assert max(len(line) for line in lines if line.startswith("#")) <= 100


def test_timeouts_are_longer_than_the_supervisors_own() -> None:
    times = Settings("", (), start_timeout=30, trial=60, drain_timeout=600, kill_timeout=5)
    found = service(times=times)
    assert found["TimeoutStartSec"] == ["115s"]
    assert found["TimeoutStopSec"] == ["625s"]


def test_a_crash_loop_never_hits_the_start_limit() -> None:
    unit = unitfile.parse(service_units.service(plan()))["Unit"]
    assert (unit["StartLimitIntervalSec"], unit["StartLimitBurst"]) == (["60s"], ["100"])
    assert service()["RestartSec"] == ["1s"]


def test_the_user_of_the_service() -> None:
    assert service(user="www")["User"] == ["www"]
    assert "DynamicUser" not in service(user="www")
    dynamic = service()
    assert (dynamic["DynamicUser"], dynamic["User"]) == (["yes"], ["web"])
    assert not {"User", "DynamicUser"} & {*service(user_unit=True)}


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("web", True),
        ("a-b_1", True),
        ("Web", False),
        ("1a", False),
        ("a.b", False),
        ("a" * 32, False),
    ],
)
def test_names_of_users(name: str, good: bool) -> None:
    assert service_units.is_user_name(name) is good


def test_a_user_manager_can_only_restrict_calls() -> None:
    found = service(user_unit=True)
    assert found["SystemCallFilter"] == service()["SystemCallFilter"]
    assert not {"ProtectSystem", "PrivateTmp", "PrivateDevices", "CapabilityBoundingSet"} & {*found}


def test_programs_that_generate_code() -> None:
    assert service()["MemoryDenyWriteExecute"] == ["yes"]
    assert service(jit=True)["MemoryDenyWriteExecute"] == ["no"]
    assert service()["ProtectHome"] == ["yes"]
    assert service(paths=("/home/me/bin/x",))["ProtectHome"] == ["read-only"]
    assert service(paths=("/usr/bin/x", "/tmp"))["PrivateTmp"] == ["no"]
    assert service(paths=("/tmpfs/x",))["PrivateTmp"] == ["yes"]


def test_socket_files_can_be_changed_by_the_program() -> None:
    assert service("/run/web.sock")["ReadWritePaths"] == ['"-/run/web.sock"']
    assert socket("/run/web.sock", user="www")["SocketUser"] == ["www"]
    # Whoever makes that folder could put a link into it, which SocketUser= follows.
    elsewhere = socket("/nowhere/web.sock", user="www")
    assert elsewhere["ExecStartPost"] == ["chown --no-dereference -- www /nowhere/web.sock"]
    assert "SocketUser" not in elsewhere
    assert "ReadWritePaths" not in service("@web")
    in_tmp = service("/tmp/a b%.sock")
    assert in_tmp["ReadWritePaths"] == ['"-/tmp/a b%%.sock" /tmp /var/tmp']
    assert in_tmp["PrivateTmp"] == ["no"]


def test_listeners() -> None:
    found = socket("127.0.0.1:80", "[::1]:80", "udp:127.0.0.1:53", "@a%b", label="x")
    assert found["ListenStream"] == ["127.0.0.1:80", "[::1]:80", "@a%%b"]
    assert found["ListenDatagram"] == ["127.0.0.1:53"]
    assert found["FileDescriptorName"] == ["x"]
    assert found["NoDelay"] == ["yes"]
    assert "FreeBind" not in found


def test_an_address_that_may_come_up_later() -> None:
    assert socket("192.0.2.1:80")["FreeBind"] == ["yes"]
    assert socket("[fe80::1%1]:80")["FreeBind"] == ["yes"]
    assert "FreeBind" not in socket("0.0.0.0:80", "[::]:81")


def test_both_families_on_one_port() -> None:
    assert socket("0.0.0.0:80", "[::]:80")["BindIPv6Only"] == ["ipv6-only"]
    assert "BindIPv6Only" not in socket("80")
    assert "BindIPv6Only" not in socket("0.0.0.0:80", "[::]:81")


def test_lanes_are_equal_lines() -> None:
    found = socket("127.0.0.1:80", "udp:[::1]:53", lanes=3, label="web")
    assert found["ListenStream"] == ["127.0.0.1:80"] * 3
    assert found["ListenDatagram"] == ["[::1]:53"] * 3
    assert (found["ReusePort"], found["FileDescriptorName"]) == (["yes"], ["web"])
    assert "ReusePort" not in socket()
