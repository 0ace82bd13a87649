"""Certificates for servers under test."""

from __future__ import annotations

import subprocess


def make(path: str) -> None:
    """One that signs itself, and its key, in one file. Needs openssl."""
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    rest = ("-subj", "/CN=localhost", "-days", "9", "-keyout", path, "-out", path)
    subprocess.run(["openssl", "req", "-x509", *kind, *rest], check=True, capture_output=True)
