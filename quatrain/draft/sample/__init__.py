"""The rows of a table that `init` looks at, and files that are no table."""
