"""The network: its layers, loop and optimizer."""
