"""Fuzzers: what strangers, the program and files can say to sockact, garbled. docs/testing.md.

python -m tests.fuzz [--seed N] [--messages N | --seconds S] [FUZZER ...]
"""
