"""Where Beam runs: in this process, in worker processes, or on an engine elsewhere."""
