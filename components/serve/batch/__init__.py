"""Prediction of a table of any size: ranges in, numbered shards out, on any engine."""
