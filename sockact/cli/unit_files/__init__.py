"""What the commands that write units share: the options of `sockact run` in a unit, the places of
its files, and writing them. Has no commands.
"""

__all__ = ("files", "lane_lines", "passing", "wanted", "wrapped")
