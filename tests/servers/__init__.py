"""Real servers, unmodified, and the small applications that they serve."""
