"""Adapters for HTTP/2, where a server sends GOAWAY in place of `Connection: close`."""
