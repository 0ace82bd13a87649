"""Programs for those who work on sockact."""
