"""What every other room of the supervisor stands on: the loop, child commands, retries, lines
for the operator. Knows nothing of services.
"""
