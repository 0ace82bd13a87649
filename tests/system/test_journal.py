"""The program's output in the journal: each generation has its own identifier."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support import wait
from tests.system import servers
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.system.conftest import Deploy
    from tests.system.service import Service

# $JOURNAL_STREAM is told, and compared with what standard output is.
TELLS = (
    'exec 3>&1; test "$JOURNAL_STREAM" = "$(stat -Lc %d:%i /dev/fd/3)" && echo to stdout; '
    'echo "<3>to stderr" >&2; exec "$@"'
)
UNITS = servers.GUNICORN.units()
TELLING = replace(UNITS, command=("/bin/sh", "-c", TELLS, "sh", *UNITS.command))


def _lines(service: Service, identifier: str, *more: str) -> list[str]:
    words = ("-u", service.unit, "-t", identifier, "-o", "cat", "--no-pager", *more)
    return service.machine.run("journalctl", *words, check=True).stdout.splitlines()


def _wait(service: Service, identifier: str) -> None:
    wait.until(
        lambda: {"to stdout", "to stderr"} <= {*_lines(service, identifier)},
        f"the lines of {identifier}",
        30,
        0.1,
    )


def test_each_generation_has_its_own(deploy: Deploy) -> None:
    service = deploy(TELLING)
    service.releases.publish("2")
    service.systemctl("reload", service.unit)
    for number in ("1", "2"):
        identifier = f"{service.name}-{number}"
        _wait(service, identifier)
        assert _lines(service, identifier, "-p", "3") == ["to stderr"]
        assert _lines(service, identifier, f"_UID={service.machine.uid(USER)}")
    assert not _lines(service, f"{service.name}-3")


def test_the_default_identifier_is_the_services(deploy: Deploy) -> None:
    """What `sockact wrap` sets, so that existing filters by identifier still match."""
    # By a name that the journal does not know from the other test.
    settings = ("SyslogIdentifier=as-it-was",)
    units = replace(TELLING, name="plain", options=("--identifier", ""), settings=settings)
    service = deploy(units)
    _wait(service, "as-it-was")
    assert not _lines(service, f"{service.name}-1")
