"""Metrics as mergeable statistics: each has a zero, `+` and a value."""
