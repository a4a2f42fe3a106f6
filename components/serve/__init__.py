"""A served model: loading and checking one, and predicting with it from files or over HTTP."""
