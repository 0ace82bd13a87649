"""What the supervisor and systemd say to each other: LISTEN_FDS, sd_notify, the journal, the FD
store. Never reads a unit file.
"""
