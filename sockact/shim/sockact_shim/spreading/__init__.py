"""How the closings of a drain are spread over a time."""
