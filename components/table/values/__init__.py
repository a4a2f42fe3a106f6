"""A cell of any source becomes a value, is missing, or is a fault: by one table of rules."""
