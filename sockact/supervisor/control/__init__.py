"""The control socket: protocol, server, client, and where it is. Never acts on the service
except through its interface.
"""
