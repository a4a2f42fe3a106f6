"""The spec: one YAML file that describes one model, checked before anything runs."""
