"""Our blocking client, and somebody else's, against the control server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import varlink as pypi_varlink  # type: ignore[import-untyped, unused-ignore]

from sockact.supervisor import client, varlink
from tests.process.test_control import HANDOVER, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    bench = Bench(folder)
    yield bench
    bench.close()


def test_an_independent_client_understands_us(bench: Bench) -> None:
    bench.service.at_once = (HANDOVER, True)

    def work() -> None:
        with pypi_varlink.Client(f"unix:{bench.path}") as service:
            assert list(service.get_interfaces()) == [varlink.SERVICE, varlink.INTERFACE]
            with service.open(varlink.SERVICE) as connection:
                assert connection.GetInfo()["product"] == "sockact"
            with service.open(varlink.INTERFACE) as connection:
                assert connection.Status()["status"] == bench.service.status()
                assert connection.Reload(wait_drained=True) == {"handover": HANDOVER}
                first = next(connection.Status(_more=True))
                assert first["status"]["name"] == "app"

    bench.meanwhile(work)


def test_the_client_explains_what_went_wrong(bench: Bench, folder: Path) -> None:
    with pytest.raises(client.NotRunning) as not_running:
        client.Client(str(folder / "absent"))
    assert not_running.value.directory == str(folder / "absent")

    def wrong_call() -> None:
        with client.Client(str(folder)) as connection:
            connection.call("Other")

    with pytest.raises(client.RemoteError) as remote:
        bench.meanwhile(wrong_call)
    assert remote.value.name == varlink.METHOD_NOT_FOUND

    def call_in_vain() -> None:
        with client.Client(str(folder)) as connection:
            connection.call("Reload", timeout=0.05)

    with pytest.raises(client.Timeout, match=r"0\.05 s"):
        bench.meanwhile(call_in_vain)


def test_the_client_notices_the_end(bench: Bench, folder: Path) -> None:
    with client.Client(str(folder), timeout=1) as connection:
        connection.send("Reload")
        bench.turn(3)
        bench.server.close()
        with pytest.raises(client.Disconnected):
            connection.receive(timeout=5)
    (folder / "control").touch()
    with pytest.raises(client.NotRunning):
        client.Client(str(folder))


def test_the_client_watches(bench: Bench, folder: Path) -> None:
    def work() -> list[str]:
        with client.Client(str(folder)) as connection:
            replies = connection.call_more("Status", timeout=5)
            return [next(replies)["status"]["name"] for _ in range(2)]

    assert bench.meanwhile(work) == ["app", "app"]


def test_the_client_copes_with_another_kind_of_server(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control"))
        listener.listen()
        with client.Client(str(folder)) as connection:
            other = listener.accept()[0]
            with other:
                other.send(b"220 mail\r\n\0")
                with pytest.raises(client.ControlError, match="no sockact supervisor"):
                    connection.receive(timeout=5)
