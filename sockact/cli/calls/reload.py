"""A reload: succeeds when the next generation is serving."""

from __future__ import annotations

import os

from sockact.cli.calls import service
from sockact.cli.terminal.failures import Failure, Misuse, TimedOut
from sockact.cli.terminal.output import complain, say
from sockact.core import json_text
from sockact.supervisor.control import client, interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sockact.supervisor.control.varlink import JsonObject

_PENDING = "pending"


def perform(
    name: str | None,
    *,
    wait_drained: bool = False,
    force: bool = False,
    as_json: bool = False,
    timeout: float | None = None,
    canary: JsonObject | None = None,
    canary_background: bool = False,
) -> int:
    """`sockact reload`; its exit status. `canary`: the settings of one. Raises Failure."""
    target = service.one(name)
    parameters: JsonObject = {"wait_drained": wait_drained, "force": force}
    parameters |= canary or {}  # Which an earlier version does not know.
    if canary_background:
        parameters["canary_background"] = True
    supervisor, handover = _reload(target, parameters, timeout)
    if as_json:
        say(json_text.indented(handover))
    _raise_if_failed(target, handover)
    if not as_json:
        say(f"{target.name}: {_begun(target.name, handover) or succeeded(handover)}")
        _warn_of_stale_files(target.name, supervisor)
    return 0


def reloaded(target: service.Service) -> str:
    """Reload for another command; the outcome in words. Raises Failure."""
    _, handover = _reload(target, {}, None)
    _raise_if_failed(target, handover)
    return _begun(target.name, handover) or succeeded(handover)


def _raise_if_failed(target: service.Service, handover: dict[str, Any]) -> None:
    if handover["outcome"] not in ("committed", _PENDING):
        # Loaded here alone: most reloads succeed.
        from sockact.cli.journal import last_words

        quoted = last_words.of_reload(target.name, handover)
        raise Failure(f"{target.name}: {_failed(handover)}", quoted=quoted)


def _reload(
    target: service.Service, parameters: JsonObject, timeout: float | None
) -> tuple[int, dict[str, Any]]:
    """The pid of the supervisor, and the handover."""
    with target.connect(
        min(timeout or service.ANSWER_SECONDS, service.ANSWER_SECONDS)
    ) as connection:
        try:
            # systemd.exec(5): only commands such as ExecReload= get $MAINPID.
            own = os.environ.get("MAINPID") == str(connection.supervisor)
            answer = target.call(connection, "Reload", {**parameters, "exec_reload": own}, timeout)
        except client.RemoteError as error:
            if error.name != interface.RELOAD_FAILED:
                raise _refused(target.name, error) from error
            answer = error.parameters
        except client.Timeout as error:
            raise TimedOut(
                f"{target.name}: no outcome within {timeout:g} s; the reload continues, "
                f"see `sockact status {target.name}`"
            ) from error
        handover: dict[str, Any] = answer["handover"]
        if parameters.get("wait_drained") and handover["drained"]:
            handover |= _cut_off(connection, handover)
        supervisor = connection.supervisor
    return supervisor, handover


def _warn_of_stale_files(name: str, supervisor: int) -> None:
    """Name the files of the unit that have changed and that only a restart applies."""
    from sockact.units import unit_facts

    if not unit_facts.unit_of(supervisor)[0]:
        return
    from sockact.units import stale_files

    unit, user, found = stale_files.of_process(supervisor)
    systemctl = "systemctl --user" if user else "systemctl"
    for path in found:
        complain(
            Failure(
                f"warning: {name}: {path} has changed since the service was started, and a reload "
                f"does not apply it; run `{systemctl} daemon-reload && {systemctl} restart {unit}`"
            )
        )


def _cut_off(connection: client.Client, handover: dict[str, Any]) -> dict[str, Any]:
    """How many connections of the predecessor were cut off, and after how long; empty if the
    supervisor does not tell.
    """
    try:
        records = connection.call("History", timeout=service.ANSWER_SECONDS)["handovers"]
    except client.ControlError:
        return {}
    for record in reversed(records):
        if record["to"] == handover["to"]:
            drain = sum(one["seconds"] for one in record["phases"] if one["name"] == "drain")
            return {"forced_closes": record["forced_closes"], "drain_seconds": float(drain)}
    return {}


def _refused(name: str, error: client.RemoteError) -> Exception:
    """What is raised for a reload that was not begun."""
    if error.name == interface.TOO_MANY_FAILURES:
        return Failure(
            f"{name}: not reloaded: {error.parameters['reason']}; fix the cause, "
            f"then run `sockact reload --force {name}` or `sockact reset {name}`"
        )
    if error.name == interface.NO_CANARY:
        return Misuse(f"{name}: not reloaded: {error.parameters['reason']}")
    if error.name == interface.CONFIGURATION_REFUSED:
        return Failure(f"{name}: not reloaded: {error.parameters['reason']}; nothing was changed")
    return error


def _failed(handover: dict[str, Any]) -> str:
    # Not on the short way, which is for reloads that succeed.
    from sockact.core.lifecycle.stop import STOPPING

    if handover["reason"] == STOPPING:
        # Nothing is wrong with the successor, and the predecessor does not stay either.
        return STOPPING
    text = f"generation {handover['to']} failed: {handover['reason'] or 'no reason given'}"
    predecessor = handover["from"]
    if predecessor is not None and not handover["drained"]:
        text += f"; generation {predecessor} is still serving"
    return text


def succeeded(handover: dict[str, Any]) -> str:
    """A reload that was committed, in words."""
    seconds = handover["duration_seconds"]
    text = f"generation {handover['to']} is serving (ready in {seconds:.2f} s)"
    if (predecessor := handover["from"]) is not None:
        text += f"; generation {predecessor} {_left(handover)}"
    return text


def _begun(name: str, handover: dict[str, Any]) -> str:
    """A reload whose canary goes on in the background, in words; "" for another."""
    if handover["outcome"] != _PENDING:
        return ""
    share = (handover["share"] or 0) / 10
    return f"canary: gets {share:g} % of the new clients; see `sockact status {name}`"


def _left(handover: dict[str, Any]) -> str:
    """What has become of the predecessor."""
    if not handover["drained"]:
        return "is kept for a rollback" if handover["kept"] else "is draining"
    cut = handover.get("forced_closes", 0)
    if not cut:
        return "has drained"
    some = "1 connection was" if cut == 1 else f"{cut} connections were"
    return f"has ended; {some} cut off after {handover['drain_seconds']:.3g} s"
