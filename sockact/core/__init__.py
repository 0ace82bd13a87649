"""Pure decisions: no os, no socket, no clock. Time comes in as an argument (seconds, monotonic)."""
