"""Cleaning up: which runs, versions and records of the cache may go, and their deletion."""
