"""Reads, cleans and splits a table with Beam, fits the transform, engineers the features."""
