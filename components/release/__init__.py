"""Releases a model that passed its gate: a version in the registry, then traffic in steps."""
