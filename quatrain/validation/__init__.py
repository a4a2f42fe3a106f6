"""Checks a spec, and a sample of its rows, before a run."""
