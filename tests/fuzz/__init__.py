"""Fuzzing: bytes that nobody would write, for all that reads what others wrote. See `python -m tests.fuzz --help`."""
