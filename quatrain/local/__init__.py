"""Runs the compiled pipeline on this machine."""
