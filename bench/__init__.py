"""Load, demonstration and measurements: how a service looks from its clients' side."""
