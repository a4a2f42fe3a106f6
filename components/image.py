"""The one image that every component, Beam worker and training replica runs in."""

IMAGE = "quatrain:dev"
"""Compile-time default; `quatrain compile --image` names the pushed image by its digest."""
