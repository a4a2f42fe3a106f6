"""Drafts a spec from a sample of a table."""
