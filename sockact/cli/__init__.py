"""The commands: thin click wrappers around the supervisor's control client."""
