"""The shipped trainer: features, model, loop and the job's edge."""
