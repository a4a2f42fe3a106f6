"""The image that every component, Beam worker and, by default, training replica runs in."""

IMAGE = "quatrain:dev"
"""Compile-time default; `quatrain compile --image` names the pushed image by its digest."""

PYTHON, BEAM = "3.11", "2.77.0"
"""The versions in the image; a test compares both with the Dockerfile."""

LAUNCHER_IMAGE = "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0"
"""Google's image of both launchers, which the components name by a tag."""
