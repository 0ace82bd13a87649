"""Reloads because files or the configuration changed. Never touches a generation."""
