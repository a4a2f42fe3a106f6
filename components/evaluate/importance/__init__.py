"""Which inputs a model relies on, and how its answers follow them."""
