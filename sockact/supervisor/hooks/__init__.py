"""The commands that users attach to handovers: when each is due, and running it. Never holds up
more than the policy says.
"""
