"""What happens to a generation when it is ready: its warm-up, and its trial.

Decides nothing: what happens is an event for `Context.handle`.
"""

from __future__ import annotations

from sockact.core.lifecycle.events import TrialFailed, TrialPassed, Warmed, Warming
from sockact.supervisor.processes.environment import probe_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.probes.trial import TrialMonitor
    from sockact.supervisor.probes.warm_up import WarmUp


class Proving:
    """The warm-up and the trial of one generation."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = number
        self._warm_up: WarmUp | None = None
        self._trial: TrialMonitor | None = None

    @property
    def on_trial(self) -> bool:
        """Whether its trial is watched."""
        return self._trial is not None

    def start_warm_up(self, settings: Settings) -> None:
        """Warm it up, if that is not done yet."""
        if self._warm_up is None:
            from sockact.supervisor.probes.warm_up import WarmUp

            context, number = self._context, self._number
            self._warm_up = WarmUp(
                context.loop,
                context.lending,
                number,
                settings,
                probe_environment(context.environment, settings.name),
                lambda: context.processes.of(number),
                lambda progress: context.handle(Warming(number, progress)),
                lambda reason: context.handle(Warmed(number, reason)),
            )

    def end_warm_up(self) -> None:
        """Stop to warm it up."""
        if self._warm_up:
            self._warm_up.stop()
            self._warm_up = None

    def start_trial(self, settings: Settings) -> None:
        """Start to watch its trial, if that is not done yet."""
        if self._trial is None:
            from sockact.supervisor.probes.private_runs import PrivateRuns
            from sockact.supervisor.probes.trial import TrialChecks, TrialMonitor

            context, number = self._context, self._number
            environment = probe_environment(context.environment, settings.name)
            runs = PrivateRuns(context.loop, context.lending, number)
            watch = TrialChecks(
                runs.of_trial(settings, environment),
                [*context.lending.listeners_of(number)],
                settings.probe_interval,
                settings.probe_threshold,
            )
            self._trial = TrialMonitor(
                context.loop,
                watch,
                lambda: context.handle(TrialPassed(number)),
                lambda reason: context.handle(TrialFailed(number, reason)),
            )

    def end_trial(self) -> None:
        """Stop to watch its trial."""
        if self._trial:
            self._trial.stop()
            self._trial = None

    def close(self) -> None:
        """End both."""
        self.end_warm_up()
        self.end_trial()
