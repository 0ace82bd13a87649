"""The configuration file: its syntax, its keys, its kept versions. Never changes what runs."""
