"""The logs of a service: the pipes, the process that writes them, rotation. Never blocks the
program or the supervisor.
"""
