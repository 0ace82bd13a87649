"""A server of the zoo under sockact, with its releases on disk."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.load import SHORT, ask
from tests.servers import zoo
from tests.servers.commands import Transport
from tests.servers.releases import Releases
from tests.support import certificate, wait
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.servers.commands import Address


@dataclass(frozen=True)
class Deployment:
    """What a test needs to deploy new versions of a running service and to ask it."""

    server: zoo.Server
    address: Address
    releases: Releases
    service: Service

    def version(self, timeout: float = 15.0) -> str:
        """The version that answers a new client; raises OSError or Failed."""
        (kind,) = {load.kind for load in self.server.loads} & SHORT
        return asyncio.run(ask(self.address.target, kind, timeout))


def choose(
    server: zoo.Server, folder: Path, import_seconds: float = 0.0
) -> tuple[Address, Releases]:
    """An address for a server, and version 1 of its releases on disk; a certificate in TLS."""
    udp = server.transport is Transport.UDP
    port = wait.free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    address = server.address(folder, port)
    releases = Releases(folder / "releases", import_seconds, address.bind)
    releases.publish("1")
    if address.certificate:
        certificate.make(address.certificate)
    return address, releases


def deploy(
    server: zoo.Server,
    folder: Path,
    options: Sequence[str] = (),
    import_seconds: float = 0.0,
    launcher: Sequence[str] = (),
) -> Deployment:
    """Choose an address, publish version 1, start."""
    chosen = choose(server, folder, import_seconds)
    return start(server, folder, *chosen, options, launcher)


def start(
    server: zoo.Server,
    folder: Path,
    address: Address,
    releases: Releases,
    options: Sequence[str] = (),
    launcher: Sequence[str] = (),
) -> Deployment:
    """Start a server under sockact, without waiting until it is ready."""
    service = Service(
        server.command(address),
        folder=folder,
        listen=address.listen,
        options=("--directory", str(server.directory(releases)), *server.settings, *options),
        environment=zoo.environment(releases),
        launcher=launcher,
    )
    return Deployment(server, address, releases, service)
