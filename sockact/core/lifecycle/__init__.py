"""The life of a service as one pure function, step(state, event, now). Never performs an action
itself.
"""
