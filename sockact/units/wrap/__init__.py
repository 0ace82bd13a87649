"""Putting an existing service under sockact, and taking it out again. Never leaves a step half
done.
"""
