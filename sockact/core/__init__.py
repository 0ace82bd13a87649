"""Pure decisions and the data they are made on. No os, no socket, no clock: time is an argument
(seconds, monotonic).
"""
