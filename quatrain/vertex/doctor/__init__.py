"""What would make a run fail, found before it costs anything."""
