"""Option types, option groups and completions shared by commands. Never acts on them."""
