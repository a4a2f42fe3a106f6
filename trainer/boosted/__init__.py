"""Boosted trees: their fit, and their form as tensors."""
