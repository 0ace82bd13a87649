"""systemd's protocols for services: LISTEN_FDS, sd_notify, the journal, the file descriptor store.

Never reads a unit file.
"""

__all__ = ("fdstore", "journal", "journal_stream", "listeners", "notify")
