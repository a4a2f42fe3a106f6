"""Prints the progress of a run, and texts about runs, specs and tiers."""
