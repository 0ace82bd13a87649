"""What the command line reads of unit files and of the running systemd. Never loaded by the
supervisor.
"""
