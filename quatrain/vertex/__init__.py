"""Runs the compiled pipeline on Vertex AI."""
