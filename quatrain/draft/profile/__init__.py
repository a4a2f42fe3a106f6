"""What a sample of a table shows: its format, its columns and what their values stand for."""
