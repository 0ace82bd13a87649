"""One service: its state, the actions that are performed for it, and the requests to it. Never
blocks.
"""
