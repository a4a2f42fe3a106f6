"""Scale tiers: machines, counts, strategy, prices and scheduling."""
