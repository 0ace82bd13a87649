"""Counting requests while a canary is under way: the page that the supervisor reads."""
