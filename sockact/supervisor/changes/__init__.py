"""Reloads because of changed files or configuration. Never touches a generation."""

__all__ = ("configuration", "reload_trigger", "request")
