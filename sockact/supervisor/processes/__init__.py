"""The processes of a service: launching, finding, signalling and talking to them. Never decides
which generation serves.
"""
