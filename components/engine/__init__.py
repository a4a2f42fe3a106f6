"""Where Beam runs: in threads of this process, in a pool of processes, or on another engine."""
