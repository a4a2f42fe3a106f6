"""What a spec is: its schema, column types and parameter."""
