"""Unit files and logrotate snippets as text. Never writes a file, except the shipped units."""

__all__ = ("logrotate", "path_unit", "service_units", "templates")
