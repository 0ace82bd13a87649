"""The unit in which a service's program starts once under sockact, beside the running one. Never
touches the running one.
"""

__all__ = ("trial_unit",)
