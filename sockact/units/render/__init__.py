"""Unit files and logrotate snippets as text. Never writes a file, except the shipped units."""
