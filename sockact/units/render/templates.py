"""The files of the top-level directory units/.

`python -m sockact.units.render.templates DIRECTORY [SOCKACT]` writes them. The directory is in the
repository for reading, and a test compares it; packages write their own with the absolute path of
their command SOCKACT.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sockact.core.matching import Address, Family, Kind
from sockact.units.render import exporter_units, service_units
from sockact.units.render.service_units import Plan
from sockact.units.unitfile import command_line

# systemd looks for a command without a directory in /usr/local/bin and /usr/bin.
_SOCKACT = "sockact"

_ENVIRONMENT = """\
# /etc/sockact/myapp.env, for the instance sockact@myapp. Read when the service starts.
# The program with its absolute path, and its arguments; split at spaces.
SOCKACT_COMMAND="/srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app"
# Options of `sockact run`.
SOCKACT_OPTIONS="--directory /srv/myapp/current"
"""

_LISTEN = """\
# /etc/systemd/system/sockact@myapp.socket.d/listen.conf: the addresses of the instance.
[Socket]
ListenStream=127.0.0.1:8000
"""


def files(sockact: str = _SOCKACT) -> dict[str, str]:
    """Path below units/ → text. `sockact` is the command in the templates."""
    example = _example()
    return {
        "sockact@.service": service_units.service(_instance(sockact, user_unit=False)),
        "sockact@.socket": service_units.socket(_instance(sockact, user_unit=False)),
        "user/sockact@.service": service_units.service(_instance(sockact, user_unit=True)),
        "user/sockact@.socket": service_units.socket(_instance(sockact, user_unit=True)),
        **exporter_units.files(sockact),
        "examples/myapp.service": service_units.service(example),
        "examples/myapp.socket": service_units.socket(example),
        "examples/sockact@myapp.socket.d/listen.conf": _LISTEN,
        "examples/myapp.env": _ENVIRONMENT,
    }


def _instance(sockact: str, *, user_unit: bool) -> Plan:
    return Plan(
        name="%i",
        start=f"{sockact} run --name %i --identifier %i $SOCKACT_OPTIONS -- $SOCKACT_COMMAND",
        reload=f"{sockact} reload %i",
        env_file="%E/sockact/%i.env" if user_unit else "/etc/sockact/%i.env",
        user_unit=user_unit,
    )


def _example() -> Plan:
    bind = ("--bind", "127.0.0.1:8000", "app:app")
    options = ("--name", "myapp", "--directory", "/srv/myapp/current", "--identifier", "myapp")
    gunicorn = "/srv/myapp/venv/bin/gunicorn"
    return Plan(
        name="myapp",
        start=command_line(("/usr/bin/sockact", "run", *options, "--", gunicorn, *bind)),
        reload="/usr/bin/sockact reload myapp",
        addresses=(Address(Family.INET, Kind.STREAM, "127.0.0.1", 8000),),
        user="myapp",
        env_file="-/etc/default/myapp",
    )


def main(directory: str, sockact: str = _SOCKACT) -> None:
    """Write all files."""
    for name, text in files(sockact).items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
