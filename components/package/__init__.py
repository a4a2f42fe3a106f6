"""The package step: builds the trainer's sdist, proves it and publishes it."""
