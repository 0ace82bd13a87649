"""Adapters for HTTP/2: a connection announces its end with a GOAWAY frame."""
