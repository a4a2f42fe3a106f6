"""Boosted trees: how they are fitted, computed, and blended with a network."""
