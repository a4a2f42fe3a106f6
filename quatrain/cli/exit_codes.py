"""The exit codes of the command line."""

FAILED = 1
USAGE = 2
"""A wrong command line."""
INTERRUPTED = 130
"""Ctrl-C, as a shell reports it: 128 + SIGINT."""
