"""Fixtures for all tests. A test fails if it leaves a process, fd or socket file behind."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings

from sockact.supervisor.base.loop import Loop
from tests.servers import zoo
from tests.servers.releases import Releases
from tests.support import leaks, wait
from tests.support.deployment import Deployment, deploy
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling


# How long examples take says more about what else the machine does than about them.
settings.register_profile("sockact", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sockact")

TABLES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and see orphans."""
    config.addinivalue_line("markers", "slow: takes more than 5 s")
    config.addinivalue_line(
        "markers", "concurrent: shares processes with other tests; its module checks for leaks"
    )
    # What pytest makes of a test module is kept, whatever $PYTHONDONTWRITEBYTECODE says to others.
    sys.dont_write_bytecode = False
    leaks.become_subreaper()
    # A shell that started us in the background had it ignored, and so would all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not in the first test that needs one: what holds them stays.
    wait.port_share()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How `-n` distributes the tests."""
    from tests.support.sharing import Sharing

    return Sharing(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order in which `-n` shares them out; without it, they stay as they are."""
    if hasattr(config, "workerinput"):
        from tests.support import sharing

        items[:] = sharing.mixed(items)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what tests put into `tables`."""
    for table in config.stash.get(TABLES, []):
        terminalreporter.write_line("")
        terminalreporter.write_line(table)


@pytest.fixture(scope="session")
def tables(pytestconfig: pytest.Config) -> list[str]:
    """Texts to print at the end, regardless of output capturing."""
    return pytestconfig.stash.setdefault(TABLES, [])


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process or a file descriptor behind."""
    if request.node.get_closest_marker("concurrent"):
        yield
        return
    with leaks.nothing_left():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a path short enough for sockets, which other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="sockact-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A supervisor's loop."""
    made = Loop()
    yield made
    made.close()


class StartService(Protocol):
    """The call of the `start` fixture, with the arguments of Service but the folder."""

    def __call__(
        self,
        command: list[str],
        *,
        listen: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
        name: str = "test",
        environment: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        launcher: tuple[str, ...] = (),
        ready: bool = True,
    ) -> Service: ...


@pytest.fixture
def start(folder: Path) -> Iterator[StartService]:
    """Start services, each in a folder of its own; by default wait until it is ready."""
    services: list[Service] = []

    def start(
        command: list[str],
        *,
        listen: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
        name: str = "test",
        environment: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        launcher: tuple[str, ...] = (),
        ready: bool = True,
    ) -> Service:
        own = folder / str(len(services))
        own.mkdir()
        service = Service(
            command,
            folder=own,
            listen=listen,
            options=options,
            name=name,
            environment=environment,
            pass_fds=pass_fds,
            launcher=launcher,
        )
        services.append(service)
        if ready:
            service.wait_ready()
        return service

    yield start
    errors = []
    for service in services:
        try:
            service.close()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture
def releases(folder: Path) -> Releases:
    """Version 1 on disk."""
    releases = Releases(folder / "releases")
    releases.publish("1")
    return releases


@pytest.fixture
def start_server(folder: Path) -> Iterator[Callable[..., Deployment]]:
    """Start a server of the zoo by its name, version 1, on an address of its own."""
    deployments: list[Deployment] = []

    def start(name: str, *options: str) -> Deployment:
        own = folder / f"zoo{len(deployments)}"
        own.mkdir()
        deployment = deploy(zoo.BY_NAME[name], own, options)
        deployments.append(deployment)
        deployment.service.wait_ready()
        return deployment

    yield start
    for deployment in deployments:
        deployment.service.close()
