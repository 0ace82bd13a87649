"""A reload moves open connections: `--move-connections on`."""
