"""One supervised service: its state, the actions performed for it, and what is asked of it.
Never blocks.
"""
