"""The configuration file of a service: docs/configuration.md."""
