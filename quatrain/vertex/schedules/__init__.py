"""Lets Vertex AI run the compiled pipeline on a schedule."""
