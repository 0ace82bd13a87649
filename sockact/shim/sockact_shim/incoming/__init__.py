"""Delivery inside the process: accept() also returns connections that the supervisor sends."""
