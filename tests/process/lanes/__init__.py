"""Lanes: each generation has its own listener, and the kernel is told who gets a client."""
