"""Our blocking client, and somebody else's, against the control server."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import varlink as pypi_varlink  # type: ignore[import-untyped, unused-ignore]

from sockact.cli.calls import asking, service
from sockact.cli.terminal.failures import Failure
from sockact.supervisor.control import client, endpoint, interface, varlink
from tests.process.control.bench import HANDOVER, Bench

if TYPE_CHECKING:
    from pathlib import Path


def without_nulls(found: Any) -> Any:
    """As that client gives it: without the fields that are null."""
    if isinstance(found, list):
        return [without_nulls(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {name: without_nulls(one) for name, one in found.items() if one is not None}


def test_an_independent_client_understands_us(bench: Bench) -> None:
    bench.service.at_once = (HANDOVER, True)

    def work() -> None:
        with pypi_varlink.Client(f"unix:{bench.path}") as service:
            assert list(service.get_interfaces()) == [varlink.SERVICE, varlink.INTERFACE]
            with service.open(varlink.SERVICE) as connection:
                assert connection.GetInfo()["product"] == "sockact"
            with service.open(varlink.INTERFACE) as connection:
                assert connection.Status()["status"] == without_nulls(bench.service.status())
                done = connection.Reload(wait_drained=True)
                assert done == without_nulls({"handover": HANDOVER})
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


def test_many_clients_all_get_an_outcome(bench: Bench, folder: Path) -> None:
    crowd = 150
    assert crowd > endpoint.CONNECTIONS_LIMIT
    outcomes: list[object] = []

    def reload() -> None:
        try:
            with client.Client(str(folder)) as connection:
                outcomes.append(connection.call("Reload", timeout=20)["handover"])
        except client.ControlError as error:
            outcomes.append(error)

    def finish() -> None:
        for _, done in bench.service.reloads[finished[0] :]:
            done(HANDOVER, True)
        finished[0] = len(bench.service.reloads)
        bench.loop.at(time.monotonic() + 0.3, finish)

    finished = [0]
    bench.loop.at(time.monotonic() + 0.5, finish)
    threads = [threading.Thread(target=reload) for _ in range(crowd)]

    def work() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    bench.meanwhile(work)
    assert outcomes == [HANDOVER] * crowd


def test_the_client_gives_up_when_there_is_no_room_for_too_long(bench: Bench, folder: Path) -> None:
    for _ in range(endpoint.CONNECTIONS_LIMIT):
        bench.peer().call("Reload")
        bench.turn(3)

    def work() -> None:
        with client.Client(str(folder)) as connection:
            connection.call("Reload", timeout=1)

    with pytest.raises(client.RemoteError) as refused:
        bench.meanwhile(work)
    assert refused.value.name == interface.TOO_MANY_CONNECTIONS


def test_the_client_waits_for_a_place_in_the_queue(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control"))
        listener.listen(0)
        with client.Client(str(folder)):
            started = time.monotonic()
            with pytest.raises(client.Timeout, match=r"within 0\.3 s"):
                client.Client(str(folder), timeout=0.3)
            assert 0.2 <= time.monotonic() - started < 3
            later = threading.Timer(0.2, lambda: listener.accept()[0].close())
            later.start()
            client.Client(str(folder), timeout=5).close()
            later.join()


def test_a_call_that_may_have_been_taken_is_not_repeated(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control"))
        listener.listen()
        with client.Client(str(folder)) as connection:
            listener.accept()[0].close()
            with pytest.raises(client.Disconnected):
                connection.call("Reload", timeout=5)


def test_the_client_watches(bench: Bench, folder: Path) -> None:
    def work() -> list[str]:
        with client.Client(str(folder)) as connection:
            connection.send("Status", more=True)
            replies = [connection.receive(timeout=5) for _ in range(2)]
            assert all(reply.continues for reply in replies)
            return [reply.parameters["status"]["name"] for reply in replies]

    assert bench.meanwhile(work) == ["app", "app"]


def test_no_descriptor_is_left(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        (answer,) = asking.ask_all([service.Service("app", str(folder))], 5.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(answer, Failure)
    assert answer.message.endswith("Too many open files")


def test_the_client_copes_with_another_kind_of_server(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control"))
        listener.listen()
        with client.Client(str(folder)) as connection:
            other = listener.accept()[0]
            with other:
                other.send(b"220 mail\r\n\0")
                with pytest.raises(client.ControlError, match="not a sockact supervisor"):
                    connection.receive(timeout=5)


@pytest.mark.parametrize(("seconds", "said"), [(4.990494, "5 s"), (0.05, "0.05 s"), (300, "300 s")])
def test_the_remaining_time_has_few_digits(seconds: float, said: str) -> None:
    assert str(client.Timeout("/run/a", seconds)).endswith(f" did not answer within {said}")
