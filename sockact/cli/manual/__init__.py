"""The man pages and the completions, for packages: `python3 -m sockact.cli.manual FOLDER`.

Everything that `--help` says comes from the click commands themselves; texts.py and unit.py add
what only a manual has. Loaded by no command. docs/manual.md tells why it is as it is.
"""
