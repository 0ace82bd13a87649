"""The tests; docs/testing.md says what each folder is for."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the project."""
