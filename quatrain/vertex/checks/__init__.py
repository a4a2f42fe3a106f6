"""What each door to a run checks of it: submit, schedule, doctor and `check --cloud`."""
