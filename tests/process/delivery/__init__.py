"""Connections that are delivered into programs."""
