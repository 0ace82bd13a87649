"""The rules of `sockact check`: what in a unit would drop connections. Never changes a unit."""
