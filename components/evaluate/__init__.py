"""The last step: scores the test split through the serving signature and decides the gate."""
