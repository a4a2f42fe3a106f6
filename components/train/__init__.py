"""The train step: turns a tier into worker pools, and a package into a running trainer."""
