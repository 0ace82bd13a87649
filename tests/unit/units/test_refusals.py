"""Which services `sockact wrap` takes, and which of their sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockact.systemd import listeners
from sockact.units.facts import Facts, Unit
from sockact.units.listening_sockets import Bound
from sockact.units.wrap import refusals, socket_unit
from tests.unit.units.wrapped import PLAIN, SOCKET, facts


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (facts(Type="forking"), "set Type=exec"),
        (facts(Type="oneshot"), "set Type=exec"),
        (facts(Type="dbus"), "remove BusName="),
        (facts(start="+/usr/bin/x"), "remove the +"),
        (facts(start="-!/usr/bin/x"), "remove the !"),
        (facts(start="!!/usr/bin/x"), "remove the !"),
        (facts(start="|x"), "remove the |"),
        (facts(start="/usr/bin/sockact run -- x"), "sockact runs it already"),
        (facts(RootDirectory="/srv"), "set RootDirectory= (empty)"),
        (facts(RootImage="/srv/x.img"), "set RootImage= (empty)"),
        (facts(PrivateNetwork="yes"), "outside of this network"),
        (facts(NetworkNamespacePath="/run/netns/x"), "outside of this network"),
        (facts(RuntimeDirectoryMode="0775"), "set RuntimeDirectoryMode=0755"),
        (facts(start="gunicorn -D a:a"), "remove the option"),
        (facts(start="python3 -m gunicorn --pid=/run/x a:a"), "remove the option"),
        (facts(start="/usr/bin/docker run --rm web"), "run sockact in the container instead"),
        (facts(start="podman --log-level=error start web"), "run sockact in the container instead"),
        (facts(Transient="yes"), "write a unit file"),
        (replace(facts(), service=Unit("dbus.service", PLAIN)), "systemctl itself depends on it"),
        (
            replace(facts(), service=Unit("systemd-resolved.service", PLAIN)),
            "systemctl itself depends on it",
        ),
        (
            facts(FragmentPath="/run/systemd/generator.late/x.service", SourcePath="/etc/init.d/x"),
            "generated from /etc/init.d/x",
        ),
        (facts(sockets=(Unit("web.socket", {**SOCKET, "Accept": "yes"}),)), "Accept=yes"),
        (facts(sockets=(Unit("web.socket", {**SOCKET, "ActiveState": "failed"}),)), "is failed"),
        (
            facts(sockets=(Unit("web.socket", {**SOCKET, "ActiveState": "inactive"}),)),
            "`systemctl stop web.service && systemctl start web.socket web.service`",
        ),
    ],
)
def test_refusals(found: Facts, reason: str) -> None:
    assert reason in refusals.find_reason(found)
    assert "\n" not in refusals.find_reason(found)


@pytest.mark.parametrize("kind", ["simple", "exec", "idle", "notify", "notify-reload"])
def test_services_that_can_be_wrapped(kind: str) -> None:
    assert refusals.find_reason(facts(Type=kind)) == ""
    assert refusals.find_reason(facts(start="/x --pid -D")) == ""


def test_a_port_that_is_named_is_no_port_of_the_kernels_choice() -> None:
    """50051 is in the range from which it chooses, and gRPC's own."""
    bound = [Bound(listeners.parse(f"127.0.0.1:{n}")[1], n, 1, 3) for n in (8000, 50051, 50052)]
    for named in (
        facts(start="/x --bind=127.0.0.1:50051"),
        facts("Environment=PORT=50051"),
        facts("Environment=A=1 'B=tcp:50051;'"),
    ):
        kept, left = socket_unit.choose(bound, (), socket_unit.named_ports(named))
        assert [one.address.port for one in kept] == [8000, 50051]
        assert [one.address.port for one in left] == [50052]
    kept, _ = socket_unit.choose(bound, (), socket_unit.named_ports(facts("Environment=A=500510")))
    assert [one.address.port for one in kept] == [8000]
    own = [Bound(listeners.parse("/home/x/.gunicorn/gunicorn.ctl")[1], 1, 1, 3)]
    _, left = socket_unit.choose(own, (), socket_unit.named_ports(facts("Environment=A=0")))
    assert left == own
    kept, _ = socket_unit.choose(bound, [bound[2].address])
    assert kept == bound[2:]
