"""What systemd and sockact say to each other: LISTEN_FDS and sd_notify."""
