"""A served model: loaded, proved, and asked for predictions."""
