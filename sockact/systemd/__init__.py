"""What systemd and sockact say to each other: LISTEN_FDS, sd_notify, units, the journal."""
