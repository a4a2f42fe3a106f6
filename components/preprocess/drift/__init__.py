"""How far a run's rows have moved from those of earlier runs."""
