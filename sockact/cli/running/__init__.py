"""Commands for running services: they ask the supervisor and show its answer. Never act on
processes themselves.
"""
