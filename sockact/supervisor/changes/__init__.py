"""Reloads because of changed files or configuration. Never touches a generation."""
