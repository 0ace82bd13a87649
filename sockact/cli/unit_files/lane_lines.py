"""--listen-lanes: how many equal lines a .socket unit has for each address, so that systemd opens
the lanes of the service (docs/lanes.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sockact.core.errors import OperatorError
from sockact.core.lanes import missing
from sockact.core.lanes.lending import MOST
from sockact.core.matching import Family
from sockact.core.settings import LaneUse

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sockact.core.matching import Address

option = click.option(
    "--listen-lanes",
    metavar="N",
    type=click.IntRange(0, MOST),
    help="Number of equal lines for each TCP or UDP address in the .socket unit, one for each "
    f"lane: {missing.FEWEST} to {MOST}, or 0 for a single line.",
    show_default=f"{missing.LINES} with --lanes, --canary or --warm if the service does not run as "
    "root, else 0",
)


def number(given: int | None, addresses: Sequence[Address], *, asked: bool, opens: bool) -> int:
    """The lines for each address. `asked`: the service is to have lanes; `opens`: its supervisor
    can open them beside one socket of systemd. Raises OperatorError.
    """
    never = next((one for one in addresses if one.family is Family.UNIX), None)
    if given is None:
        return 1 if opens or never or not asked else missing.LINES
    if given > 1 and never:
        raise OperatorError(f"--listen-lanes {given}: {missing.unix(never)}")
    return max(1, given)


def options(given: int | None) -> list[str]:
    """What `sockact run` needs to use the lines, or for --canary and --warm: --lanes auto, unless
    the command line has --lanes. Raises OperatorError for --lanes off.
    """
    context = click.get_current_context()
    needed_for = next((f"--{key}" for key in ("canary", "warm") if context.params[key]), "")
    wants = needed_for or f"--listen-lanes {given}"
    if not needed_for and (given or 0) < missing.FEWEST:
        return []
    if context.get_parameter_source("lanes") is ParameterSource.DEFAULT:
        return ["--lanes", LaneUse.AUTO.value]
    if context.params["lanes"] == LaneUse.OFF.value:
        raise OperatorError(f"{wants} needs lanes; write --lanes auto, or leave --lanes out")
    return []


def are_asked(lanes: str, *others: Collection[str]) -> bool:
    """Whether the service is to have lanes. `others`: the options that need them."""
    return lanes != LaneUse.OFF.value or any(others)
