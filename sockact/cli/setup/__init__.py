"""Commands that write or check the units and the configuration of a service."""
