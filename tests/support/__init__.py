"""What the tests share: services under sockact, waiting with a deadline, and leak checks."""
