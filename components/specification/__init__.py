"""The spec of a model: its schema, its messages, and the parameter that carries it."""
