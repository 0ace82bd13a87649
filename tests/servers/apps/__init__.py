"""The applications. Each reads its version when it starts: from a module, or from a file."""
