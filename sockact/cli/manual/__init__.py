"""The manual and docs/options.md, generated from the commands; used by builds, not by commands."""
