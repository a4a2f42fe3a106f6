"""Finds what is wrong with a spec, and with its rows, before a run."""
