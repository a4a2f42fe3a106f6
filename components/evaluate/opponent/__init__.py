"""An honest opponent of the model: boosted trees that learn from the raw columns."""
