"""The `sockact run` process: starting, upgrading, and the one place that puts its parts
together.
"""
