"""Turns a table into a trained, evaluated and served TensorFlow model."""
