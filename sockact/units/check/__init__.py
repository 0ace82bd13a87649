"""The rules of `sockact check`: unit settings that would drop connections. Never changes
anything.
"""

__all__ = ("all_services", "finding", "rules")
