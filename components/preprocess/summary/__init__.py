"""What is counted and sampled of each split in the full pass."""
