"""The train step: from a tier to worker pools, and from a package to a running trainer."""
