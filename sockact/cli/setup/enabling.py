"""What `sockact init` has systemd do with the units that it wrote, and what it says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import say
from sockact.core.errors import OperatorError
from sockact.units import unitfile
from sockact.units.facts import RUNNING
from sockact.units.listening_sockets import find_free
from sockact.units.manager import Manager

if TYPE_CHECKING:
    from sockact.units.render import service_units


def tell_systemd(
    name: str, options: dict[str, Any], plan: service_units.Plan, written: list[str]
) -> None:
    """Read the units and, with --enable, enable them and start the socket. Raises Failure."""
    manager = Manager(options["user_unit"])
    # At boot, the socket is opened, and the service starts without waiting for its first client.
    enable = ("enable", *(one for one in _enabled(name, options)))
    start = ("start", f"{name}.socket")
    taken: list[str] = []
    running = False
    try:
        manager.call("daemon-reload")
        running = options["force"] and _is_running(manager, name)
        if options["enable"]:
            manager.call(*enable)
            if not running:
                free = find_free(plan.addresses)
                taken = [str(one) for one in plan.addresses if one not in free]
                manager.call(*start)
    except OperatorError as error:
        why = str(error)
        if taken:
            why = (
                f"{name}.socket cannot listen on {', '.join(taken)}: address already in use (see "
                f"`ss -lntuxp`); stop that program, then run `{manager.name} {' '.join(start)}`, "
                f"or choose another --listen and add --force"
            )
        raise Failure(f"wrote the units of {name}, but {why}") from error
    _say(name, options, plan, written, manager.name, running=running)


def _enabled(name: str, options: dict[str, Any]) -> list[str]:
    paths = [f"{name}.path"] if options["path_unit"] else []
    return [f"{name}.socket", f"{name}.service", *paths]


def _is_running(manager: Manager, name: str) -> bool:
    found = unitfile.properties(manager.show(f"{name}.service"))
    return found.get("ActiveState") in RUNNING


def _say(
    name: str,
    options: dict[str, Any],
    plan: service_units.Plan,
    written: list[str],
    systemctl: str,
    *,
    running: bool,
) -> None:
    if plan.user_unit and plan.logs:
        say(
            f"\n{name}: the system's logrotate does not rotate logs of user units; call "
            f"`sockact rotate {name}` in your own postrotate script"
        )
    units = _enabled(name, options)
    done = f"\nWrote {', '.join(written[:-1])} and {written[-1]}."
    if options["enable"]:
        when = "at boot"
        if plan.user_unit:
            when = "with your session, or at boot after `loginctl enable-linger`"
        done += f" Enabled {', '.join(units[:-1])} and {units[-1]}, which start {when}."
        done += "" if running else f" Started {name}.socket."
    both = f"{name}.socket {name}.service"
    if running:
        say(
            f"{done} {name} is running with its previous units, and a reload does not apply the "
            f"new ones: run `{systemctl} restart {name}` or, if --listen has changed, "
            f"`{systemctl} stop {both} && {systemctl} start {both}` (clients are refused while the "
            f"service stops)."
        )
        return
    steps = [f"enable {' '.join(units)}", f"start {both}"]
    steps = [f"start {name}"] if options["enable"] else steps
    start = " and ".join(f"`{systemctl} {words}`" for words in steps)
    say(f"{done} Start it with {start}; deploy with `{systemctl} reload {name}`.")
