"""Option types, option groups and completions that commands share; never acts on them."""
